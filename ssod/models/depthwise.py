"""Depthwise convolutions with a stride, in the precision in which a CPU is quick at their gradient.

With torch 2.15 on one thread of a processor with AMX, the gradient of four maps of 144 channels and
48x56 cells takes 1.3 ms in float32 and 17.7 ms in bfloat16, for oneDNN has no kernel of its own for
that one. MobileNets have one such convolution for each stride.
"""

import torch
from torch import Tensor, nn


class SingleDepthwiseConv2d(nn.Conv2d):
    """A depthwise convolution that autocast leaves in float32 where it has a gradient to compute.

    Its result is of the type that autocast gives.

    Parameters and their names are those of ``nn.Conv2d``.
    """

    def forward(self, maps: Tensor) -> Tensor:
        """Convolve.

        Args:
            maps: (B, C, H, W).
        """
        learns = torch.is_grad_enabled() and (self.weight.requires_grad or maps.requires_grad)
        if not learns or maps.device.type != 'cpu' or not torch.is_autocast_enabled('cpu'):
            return super().forward(maps)
        with torch.autocast('cpu', enabled=False):
            return super().forward(maps.float()).to(torch.get_autocast_dtype('cpu'))


def quicken_depthwise(model: nn.Module) -> None:
    """Let a model's depthwise convolutions with a stride be quick at mixed precision on a CPU.

    Args:
        model: Its convolutions change their class and nothing else.
    """
    for part in model.modules():
        if type(part) is nn.Conv2d and 1 < part.groups == part.in_channels and max(part.stride) > 1:
            part.__class__ = SingleDepthwiseConv2d
