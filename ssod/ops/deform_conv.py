"""Deformable convolution, v1 (``deform_conv_*``) and v2 (``modulated_deform_conv_*``).

mmcv and torchvision agree on the layout: for each deformable group and each kernel
position an offset (y, x), then the next position; a mask value for each position.
"""

import torch
import torchvision  # noqa: F401  (registers torch.ops.torchvision)
from torch import Tensor

from ssod.ops.precision import working_dtype

__all__ = [
    'deform_conv_backward_input',
    'deform_conv_backward_parameters',
    'deform_conv_forward',
    'modulated_deform_conv_backward',
    'modulated_deform_conv_forward',
]

# stride, padding and dilation, each in height and in width, groups, deformable groups
_Geometry = tuple[int, int, int, int, int, int, int, int]


def deform_conv_forward(
    input: Tensor,
    weight: Tensor,
    offset: Tensor,
    output: Tensor,
    columns: Tensor,
    ones: Tensor,
    kW: int,
    kH: int,
    dW: int,
    dH: int,
    padW: int,
    padH: int,
    dilationW: int,
    dilationH: int,
    group: int,
    deformable_group: int,
    im2col_step: int,
) -> None:
    """Convolve at offset positions.

    Source: Dai et al., Deformable Convolutional Networks (ICCV 2017), Sec. 2.1.

    Args:
        input: (N, C, H, W).
        weight: (K, C / group, kH, kW).
        offset: (N, 2 * deformable_group * kH * kW, H', W').
        output: (N, K, H', W'), written in place.
        columns: Scratch; not used here.
        ones: Scratch; not used here.
        kW: Kernel's width.
        kH: Kernel's height.
        dW: Stride in width.
        dH: Stride in height.
        padW: Padding in width.
        padH: Padding in height.
        dilationW: Dilation in width.
        dilationH: Dilation in height.
        group: Groups of the convolution.
        deformable_group: Groups of channels with offsets of their own.
        im2col_step: Images at a time; torchvision chooses by itself.
    """
    geometry = (dH, dW, padH, padW, dilationH, dilationW, group, deformable_group)
    _forward(input, weight, offset, None, None, output, geometry)


def deform_conv_backward_input(
    input: Tensor,
    offset: Tensor,
    gradOutput: Tensor,
    gradInput: Tensor,
    gradOffset: Tensor,
    weight: Tensor,
    columns: Tensor,
    kW: int,
    kH: int,
    dW: int,
    dH: int,
    padW: int,
    padH: int,
    dilationW: int,
    dilationH: int,
    group: int,
    deformable_group: int,
    im2col_step: int,
) -> None:
    """Carry the gradient of :func:`deform_conv_forward` back to input and offset.

    torchvision computes all the gradients at once. The weight's is left in ``columns``,
    which mmcv hands on to :func:`deform_conv_backward_parameters`.

    Args:
        input: As in the forward.
        offset: As in the forward.
        gradOutput: (N, K, H', W').
        gradInput: Shaped as ``input``, written in place.
        gradOffset: Shaped as ``offset``, written in place.
        weight: As in the forward.
        columns: Resized, and written with the weight's gradient.
        kW: As in the forward.
        kH: As in the forward.
        dW: As in the forward.
        dH: As in the forward.
        padW: As in the forward.
        padH: As in the forward.
        dilationW: As in the forward.
        dilationH: As in the forward.
        group: As in the forward.
        deformable_group: As in the forward.
        im2col_step: As in the forward.
    """
    geometry = (dH, dW, padH, padW, dilationH, dilationW, group, deformable_group)
    grads = _backward(gradOutput, input, weight, offset, None, geometry)
    gradInput.copy_(grads[0])
    gradOffset.copy_(grads[2])
    columns.resize_(weight.shape).copy_(grads[1])


def deform_conv_backward_parameters(
    input: Tensor,
    offset: Tensor,
    gradOutput: Tensor,
    gradWeight: Tensor,
    columns: Tensor,
    ones: Tensor,
    kW: int,
    kH: int,
    dW: int,
    dH: int,
    padW: int,
    padH: int,
    dilationW: int,
    dilationH: int,
    group: int,
    deformable_group: int,
    scale: float,
    im2col_step: int,
) -> None:
    """Carry the gradient of :func:`deform_conv_forward` back to the weight.

    Args:
        input: As in the forward.
        offset: As in the forward.
        gradOutput: (N, K, H', W').
        gradWeight: (K, C / group, kH, kW), added to in place.
        columns: The gradient itself where :func:`deform_conv_backward_input` left it,
            empty where only the weight is trained.
        ones: Scratch; not used here.
        kW: As in the forward.
        kH: As in the forward.
        dW: As in the forward.
        dH: As in the forward.
        padW: As in the forward.
        padH: As in the forward.
        dilationW: As in the forward.
        dilationH: As in the forward.
        group: As in the forward.
        deformable_group: As in the forward.
        scale: Factor of what is added.
        im2col_step: As in the forward.
    """
    grad = columns
    if columns.shape != gradWeight.shape:
        geometry = (dH, dW, padH, padW, dilationH, dilationW, group, deformable_group)
        grad = _backward(gradOutput, input, gradWeight, offset, None, geometry)[1]
    gradWeight.add_(grad.to(gradWeight.dtype), alpha=scale)


def modulated_deform_conv_forward(
    input: Tensor,
    weight: Tensor,
    bias: Tensor,
    ones: Tensor,
    offset: Tensor,
    mask: Tensor,
    output: Tensor,
    columns: Tensor,
    kernel_h: int,
    kernel_w: int,
    stride_h: int,
    stride_w: int,
    pad_h: int,
    pad_w: int,
    dilation_h: int,
    dilation_w: int,
    group: int,
    deformable_group: int,
    with_bias: bool,
) -> None:
    """Convolve at offset positions, each sample with a weight of its own.

    Source: Zhu et al., Deformable ConvNets v2 (CVPR 2019), Eq. 1.

    Args:
        input: (N, C, H, W).
        weight: (K, C / group, kernel_h, kernel_w).
        bias: (K,), or anything where ``with_bias`` is false.
        ones: Scratch; not used here.
        offset: (N, 2 * deformable_group * kernel_h * kernel_w, H', W'). From a larger map
            mmcv reads, for each image, the first values as if they had this shape;
            mmdet's DyHead and its checkpoints rely on that, so we do the same.
        mask: (N, deformable_group * kernel_h * kernel_w, H', W'), or larger likewise.
        output: (N, K, H', W'), written in place.
        columns: Scratch; not used here.
        kernel_h: Kernel's height.
        kernel_w: Kernel's width.
        stride_h: Stride in height.
        stride_w: Stride in width.
        pad_h: Padding in height.
        pad_w: Padding in width.
        dilation_h: Dilation in height.
        dilation_w: Dilation in width.
        group: Groups of the convolution.
        deformable_group: Groups of channels with offsets and masks of their own.
        with_bias: Whether ``bias`` is added.
    """
    geometry = (
        *(stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w),
        *(group, deformable_group),
    )
    size = output.shape[2:]
    offset, mask = _first_values(offset, size), _first_values(mask, size)
    _forward(input, weight, offset, mask, bias if with_bias else None, output, geometry)


def modulated_deform_conv_backward(
    input: Tensor,
    weight: Tensor,
    bias: Tensor,
    ones: Tensor,
    offset: Tensor,
    mask: Tensor,
    columns: Tensor,
    grad_input: Tensor,
    grad_weight: Tensor,
    grad_bias: Tensor,
    grad_offset: Tensor,
    grad_mask: Tensor,
    grad_output: Tensor,
    kernel_h: int,
    kernel_w: int,
    stride_h: int,
    stride_w: int,
    pad_h: int,
    pad_w: int,
    dilation_h: int,
    dilation_w: int,
    group: int,
    deformable_group: int,
    with_bias: bool,
) -> None:
    """Carry the gradient of :func:`modulated_deform_conv_forward` back to everything.

    ``grad_output`` is (N, K, H', W'). The other gradients are written in place, each shaped as
    what it belongs to, and ``grad_bias`` only where ``with_bias`` is true. ``ones`` and ``columns``
    are scratch and not used here; all else is as in the forward.
    """
    geometry = (
        *(stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w),
        *(group, deformable_group),
    )
    size = grad_output.shape[2:]
    operands = (_first_values(offset, size), _first_values(mask, size))
    grads = _backward(grad_output, input, weight, *operands, geometry)
    grad_input.copy_(grads[0])
    grad_weight.copy_(grads[1])
    grad_offset.copy_(_with_zeros(grads[2], grad_offset.shape))
    grad_mask.copy_(_with_zeros(grads[3], grad_mask.shape))
    if with_bias:
        grad_bias.copy_(grads[4])


def _first_values(values: Tensor, size: torch.Size) -> Tensor:
    """Read (N, K, h, w) as (N, K, *size) from the first values of each image."""
    if values.shape[2:] == size:
        return values
    shape = (*values.shape[:2], *size)
    return values.flatten(1)[:, : shape[1] * size.numel()].reshape(shape)


def _with_zeros(grad: Tensor, shape: torch.Size) -> Tensor:
    """Inverse of :func:`_first_values`, for gradients."""
    if grad.shape == shape:
        return grad
    whole = grad.new_zeros(shape[0], shape[1:].numel())
    whole[:, : grad[0].numel()] = grad.flatten(1)
    return whole.view(shape)


def _forward(
    input: Tensor,
    weight: Tensor,
    offset: Tensor,
    mask: Tensor | None,
    bias: Tensor | None,
    output: Tensor,
    geometry: _Geometry,
) -> None:
    """Write torchvision's deformable convolution into ``output``."""
    operands, use_mask = _operands(input, weight, offset, mask, bias)
    output.copy_(torch.ops.torchvision.deform_conv2d(*operands, *geometry, use_mask))


def _backward(
    grad_output: Tensor,
    input: Tensor,
    weight: Tensor,
    offset: Tensor,
    mask: Tensor | None,
    geometry: _Geometry,
) -> tuple[Tensor, ...]:
    """Gradients for input, weight, offset, mask and bias."""
    operands, use_mask = _operands(input, weight, offset, mask, None)
    grad = grad_output.to(operands[0].dtype)
    grads: tuple[Tensor, ...] = torch.ops.torchvision._deform_conv2d_backward(
        grad, *operands, *geometry, use_mask
    )
    return grads


def _operands(
    input: Tensor, weight: Tensor, offset: Tensor, mask: Tensor | None, bias: Tensor | None
) -> tuple[tuple[Tensor, ...], bool]:
    """The tensors that torchvision's kernels need, and whether there is a mask."""
    dtype = working_dtype(input)
    operands = (
        input,
        weight,
        offset,
        input.new_zeros(len(input), 1) if mask is None else mask,
        input.new_zeros(len(weight)) if bias is None else bias,
    )
    return tuple(tensor.to(dtype) for tensor in operands), mask is not None
