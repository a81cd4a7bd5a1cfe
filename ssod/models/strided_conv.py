"""Strided convolutions, whose bfloat16 gradient is slow or wrong on a CPU.

With torch 2.15 on one thread of a processor with AMX, the gradient of a depthwise one for four maps
of 144 channels and 48x56 cells takes 1.3 ms in float32 and 17.7 ms in bfloat16, because oneDNN has
no kernel for it; MobileNets have one for each stride. And where a map is narrower than the stride,
like the coarsest maps of small images, the weight gradient of any kernel larger than 1 is
uninitialized memory.
"""

import torch
from torch import Tensor, nn


class StridedConv2d(nn.Conv2d):
    """A convolution that computes in float32 where its bfloat16 gradient is slow or wrong.

    The result has autocast's data type. Parameters and their names are those of ``nn.Conv2d``.
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
    """Make a model's strided convolutions correct and fast at mixed precision on a CPU.

    Args:
        model: Its strided convolutions change their class and nothing else.
    """
    for part in model.modules():
        if type(part) is nn.Conv2d and max(part.stride) > 1 and max(part.kernel_size) > 1:
            part.__class__ = StridedConv2d
