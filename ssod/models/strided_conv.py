"""Convolutions with a stride, whose gradient a CPU is slow at or wrong about in bfloat16.

With torch 2.15 on one thread of a processor with AMX, the gradient of depthwise ones for four maps
of 144 channels and 48x56 cells takes 1.3 ms in float32 and 17.7 ms in bfloat16, for oneDNN has no
kernel of its own for that one; MobileNets have one for each stride. And where a map is narrower
than the stride, as the coarsest ones of small images are, the gradient of the weights of any kernel
larger than 1 is memory that nobody wrote.
"""

import torch
from torch import Tensor, nn


class StridedConv2d(nn.Conv2d):
    """A convolution that autocast leaves in float32 where bfloat16 has no good gradient for it.

    Its result is of the type that autocast gives.

    Parameters and their names are those of ``nn.Conv2d``.
    """

    def forward(self, maps: Tensor) -> Tensor:
        """Convolve.

        Args:
            maps: (B, C, H, W).
        """
        learns = torch.is_grad_enabled() and (self.weight.requires_grad or maps.requires_grad)
        is_depthwise = 1 < self.groups == self.in_channels
        is_good = not (is_depthwise or maps.shape[-1] < self.stride[1])
        in_bfloat16 = maps.device.type == 'cpu' and torch.is_autocast_enabled('cpu')
        if is_good or not learns or not in_bfloat16:
            return super().forward(maps)
        with torch.autocast('cpu', enabled=False):
            return super().forward(maps.float()).to(torch.get_autocast_dtype('cpu'))


def mend_strided(model: nn.Module) -> None:
    """Let a model's convolutions with a stride be right and quick at mixed precision on a CPU.

    Args:
        model: Its convolutions change their class and nothing else.
    """
    for part in model.modules():
        if type(part) is nn.Conv2d and max(part.stride) > 1 and max(part.kernel_size) > 1:
            part.__class__ = StridedConv2d
