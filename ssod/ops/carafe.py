"""Content-aware upsampling: ``carafe_*`` and ``carafe_naive_*``.

Source: Wang et al., CARAFE (ICCV 2019), Eq. 2. mmcv's two variants differ only
in memory layout; here they are one. The kernel's positions are processed one by one, so
memory for a few maps of the output's size is enough.
"""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional

from ssod.ops.precision import working_dtype

__all__ = [
    'carafe_backward',
    'carafe_forward',
    'carafe_naive_backward',
    'carafe_naive_forward',
]


def carafe_naive_forward(
    features: Tensor,
    masks: Tensor,
    output: Tensor,
    kernel_size: int,
    group_size: int,
    scale_factor: int,
) -> None:
    """Upsample a map, each new cell by a kernel of its own.

    Args:
        features: (N, C, H, W).
        masks: (N, group_size * kernel_size², H * scale_factor, W * scale_factor).
        output: (N, C, H * scale_factor, W * scale_factor), written in place.
        kernel_size: Odd width of the kernels, in cells of ``features``; 0 outside.
        group_size: Groups of channels with kernels of their own.
        scale_factor: How many times larger the output is.
    """
    dtype = working_dtype(features)
    padded = _grouped(features.to(dtype), kernel_size, group_size)
    kernels = _blocks(masks.to(dtype), group_size, scale_factor)
    total = torch.zeros_like(_blocks(output, group_size, scale_factor), dtype=dtype)
    height, width = features.shape[2:]
    for position, y, x in _positions(kernel_size):
        patch = padded[..., y : y + height, x : x + width]
        total.addcmul_(patch[..., :, None, :, None], kernels[:, :, position, None])
    output.copy_(total.reshape(output.shape))


def carafe_naive_backward(
    top_grad: Tensor,
    features: Tensor,
    masks: Tensor,
    bottom_grad: Tensor,
    mask_grad: Tensor,
    kernel_size: int,
    group_size: int,
    scale_factor: int,
) -> None:
    """Carry the gradient of :func:`carafe_naive_forward` back.

    Args:
        top_grad: Shaped as the output.
        features: As in the forward.
        masks: As in the forward.
        bottom_grad: Shaped as ``features``, written in place.
        mask_grad: Shaped as ``masks``, written in place.
        kernel_size: As in the forward.
        group_size: As in the forward.
        scale_factor: As in the forward.
    """
    dtype = working_dtype(features)
    padded = _grouped(features.to(dtype), kernel_size, group_size)
    kernels = _blocks(masks.to(dtype), group_size, scale_factor)
    grad = _blocks(top_grad.to(dtype), group_size, scale_factor)
    padded_grad, kernels_grad = torch.zeros_like(padded), torch.zeros_like(kernels)
    height, width = features.shape[2:]
    for position, y, x in _positions(kernel_size):
        patch = padded[..., y : y + height, x : x + width]
        kernels_grad[:, :, position] = (grad * patch[..., :, None, :, None]).sum(2)
        spread = (grad * kernels[:, :, position, None]).sum((4, 6))
        padded_grad[..., y : y + height, x : x + width] += spread
    edge = kernel_size // 2
    inside = padded_grad[..., edge : edge + height, edge : edge + width]
    bottom_grad.copy_(inside.flatten(1, 2))
    mask_grad.copy_(kernels_grad.reshape(mask_grad.shape))


def carafe_forward(
    features: Tensor,
    masks: Tensor,
    rfeatures: Tensor,
    routput: Tensor,
    rmasks: Tensor,
    output: Tensor,
    kernel_size: int,
    group_size: int,
    scale_factor: int,
) -> None:
    """The same as :func:`carafe_naive_forward`, with mmcv's scratch tensors.

    Args:
        features: See there.
        masks: See there.
        rfeatures: Written in place with ``features``; the backward gets only this.
        routput: Scratch; not used here.
        rmasks: Scratch; not used here.
        output: See there.
        kernel_size: See there.
        group_size: See there.
        scale_factor: See there.
    """
    rfeatures.copy_(features)
    carafe_naive_forward(features, masks, output, kernel_size, group_size, scale_factor)


def carafe_backward(
    top_grad: Tensor,
    rfeatures: Tensor,
    masks: Tensor,
    rtop_grad: Tensor,
    rbottom_grad_hs: Tensor,
    rbottom_grad: Tensor,
    rmask_grad: Tensor,
    bottom_grad: Tensor,
    mask_grad: Tensor,
    kernel_size: int,
    group_size: int,
    scale_factor: int,
) -> None:
    """The same as :func:`carafe_naive_backward`, with mmcv's scratch tensors.

    Args:
        top_grad: See there.
        rfeatures: The features, as the forward wrote them.
        masks: See there.
        rtop_grad: Scratch; not used here.
        rbottom_grad_hs: Scratch; not used here.
        rbottom_grad: Scratch; not used here.
        rmask_grad: Scratch; not used here.
        bottom_grad: See there.
        mask_grad: See there.
        kernel_size: See there.
        group_size: See there.
        scale_factor: See there.
    """
    carafe_naive_backward(
        *(top_grad, rfeatures, masks, bottom_grad, mask_grad),
        *(kernel_size, group_size, scale_factor),
    )


def _positions(kernel_size: int) -> Iterator[tuple[int, int, int]]:
    """Yield the index, row and column of each position of the kernel."""
    for position in range(kernel_size**2):
        yield position, *divmod(position, kernel_size)


def _grouped(features: Tensor, kernel_size: int, groups: int) -> Tensor:
    """(N, C, H, W) to (N, G, C / G, H + k - 1, W + k - 1), zeros around."""
    padded: Tensor = functional.pad(features, [kernel_size // 2] * 4)
    return padded.view(len(padded), groups, features.shape[1] // groups, *padded.shape[2:])


def _blocks(upsampled: Tensor, groups: int, scale: int) -> Tensor:
    """(N, C, H * s, W * s) to (N, G, C / G, H, s, W, s); for masks C / G is k²."""
    images, channels, height, width = upsampled.shape
    return upsampled.reshape(
        *(images, groups, channels // groups),
        *(height // scale, scale, width // scale, scale),
    )
