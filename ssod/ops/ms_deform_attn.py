"""Multi-scale deformable attention: ``ms_deform_attn_forward`` and ``_backward``.

mmcv calls these only on CUDA; on the CPU it has its own code.
"""

import torch
from torch import Tensor
from torch.nn import functional

from ssod.ops.precision import working_dtype

__all__ = ['ms_deform_attn_backward', 'ms_deform_attn_forward']


def ms_deform_attn_forward(
    value: Tensor,
    value_spatial_shapes: Tensor,
    value_level_start_index: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
    im2col_step: int,
) -> Tensor:
    """Sum samples of several maps around each query, weighted by attention.

    Source: Zhu et al., Deformable DETR (ICLR 2021), Eq. 3.

    Args:
        value: (B, K, M, D), K cells of all levels one after the other, M heads.
        value_spatial_shapes: (L, 2) int64, (height, width) of each level.
        value_level_start_index: (L,), implied by the shapes.
        sampling_locations: (B, Q, M, L, P, 2) as (x, y), 0 to 1 being the map's extent;
            the map is 0 outside.
        attention_weights: (B, Q, M, L, P).
        im2col_step: Images at a time; not needed here.

    Returns:
        (B, Q, M * D).
    """
    operands = (value, sampling_locations, attention_weights)
    dtype = working_dtype(value)
    with torch.autocast(value.device.type, enabled=False):
        attended = _attend(value_spatial_shapes, *(tensor.to(dtype) for tensor in operands))
    return attended.to(value.dtype)


def ms_deform_attn_backward(
    value: Tensor,
    value_spatial_shapes: Tensor,
    value_level_start_index: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
    grad_output: Tensor,
    grad_value: Tensor,
    grad_sampling_loc: Tensor,
    grad_attn_weight: Tensor,
    im2col_step: int,
) -> None:
    """Carry the gradient of :func:`ms_deform_attn_forward` back.

    The samples are computed again instead of kept, as they are the largest tensor.

    Args:
        value: As in the forward.
        value_spatial_shapes: As in the forward.
        value_level_start_index: As in the forward.
        sampling_locations: As in the forward.
        attention_weights: As in the forward.
        grad_output: (B, Q, M * D).
        grad_value: Shaped as ``value``, written in place.
        grad_sampling_loc: Shaped as ``sampling_locations``, written in place.
        grad_attn_weight: Shaped as ``attention_weights``, written in place.
        im2col_step: As in the forward.
    """
    dtype = working_dtype(value)
    operands = [
        tensor.detach().to(dtype).requires_grad_()
        for tensor in (value, sampling_locations, attention_weights)
    ]
    with torch.enable_grad(), torch.autocast(value.device.type, enabled=False):
        attended = _attend(value_spatial_shapes, *operands)
    grads = torch.autograd.grad(attended, operands, grad_output.to(dtype))
    for target, grad in zip((grad_value, grad_sampling_loc, grad_attn_weight), grads, strict=True):
        target.copy_(grad)


def _attend(shapes: Tensor, value: Tensor, locations: Tensor, weights: Tensor) -> Tensor:
    """The forward, level by level, differentiable by the last three arguments."""
    batch, _, heads, depth = value.shape
    queries = locations.shape[1]
    # One synchronization with a CUDA device; mmcv's own check of the shapes, just before,
    # has already waited for it.
    sizes: list[tuple[int, int]] = [(height, width) for height, width in shapes.tolist()]
    # (B, K, M, D) -> (B * M, D, K) and (B, Q, M, L, P, ...) -> (B * M, L, Q, P, ...)
    maps = value.permute(0, 2, 3, 1).reshape(batch * heads, depth, -1)
    grids = 2 * locations.permute(0, 2, 3, 1, 4, 5).flatten(0, 1) - 1
    shares = weights.permute(0, 2, 3, 1, 4).flatten(0, 1)
    total = value.new_zeros(batch * heads, depth, queries)
    levels = torch.split(maps, [height * width for height, width in sizes], dim=2)
    for level, (cells, size) in enumerate(zip(levels, sizes, strict=True)):
        samples = functional.grid_sample(
            cells.view(*cells.shape[:2], *size), grids[:, level], align_corners=False
        )
        total = total + (samples * shares[:, None, level]).sum(-1)
    # (B * M, D, Q) -> (B, Q, M * D)
    return total.view(batch, heads * depth, queries).transpose(1, 2).contiguous()
