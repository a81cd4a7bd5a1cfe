"""RoIAlign with shifted bins: ``deform_roi_pool_forward`` and ``_backward``.

Every output is a weighted sum of cells, which ``embedding_bag`` computes without ever
holding the samples themselves, with gradients for the cells and for the weights.
"""

import torch
from torch import Tensor
from torch.nn import functional

from ssod.ops.precision import working_dtype
from ssod.ops.sampling import Pooling, interpolate_axis, sample_axis

__all__ = ['deform_roi_pool_backward', 'deform_roi_pool_forward']

# Cells (an index and a weight each) of one chunk of regions; bounds the memory.
_CHUNK_CELLS = 2**22


def deform_roi_pool_forward(
    input: Tensor,
    rois: Tensor,
    offset: Tensor,
    output: Tensor,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    gamma: float,
) -> None:
    """Average bilinear samples in bins that are shifted one by one.

    Source: Dai et al., Deformable Convolutional Networks (ICCV 2017), Sec. 2.2.

    Args:
        input: (N, C, H, W) map.
        rois: (R, 5) as (image index, x1, y1, x2, y2) in image pixels.
        offset: (R, 2, pooled_height, pooled_width), shifts in x and in y as shares of
            gamma times the region's size; empty for none.
        output: (R, C, pooled_height, pooled_width), written in place.
        pooled_height: Bins of a region in height.
        pooled_width: Bins of a region in width.
        spatial_scale: Cells of the map for one image pixel.
        sampling_ratio: Samples of a bin in each direction; 0 for one or more to a cell.
        gamma: Factor of the offsets.
    """
    dtype = working_dtype(input)
    pooling = Pooling(pooled_height, pooled_width, spatial_scale, sampling_ratio, aligned=True)
    cells, regions = _as_cells(input.to(dtype)), rois.to(dtype)
    for chunk in _chunks(regions, pooling):
        shift = gamma * offset[chunk].to(dtype) if offset.numel() else None
        output[chunk] = _pool(cells, regions[chunk], shift, pooling, input.shape).to(output.dtype)


def deform_roi_pool_backward(
    grad_output: Tensor,
    input: Tensor,
    rois: Tensor,
    offset: Tensor,
    grad_input: Tensor,
    grad_offset: Tensor,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    gamma: float,
) -> None:
    """Carry the gradient of :func:`deform_roi_pool_forward` back.

    Args:
        grad_output: (R, C, pooled_height, pooled_width).
        input: As in the forward.
        rois: As in the forward.
        offset: As in the forward.
        grad_input: Shaped as ``input``, written in place.
        grad_offset: Shaped as ``offset``, written in place.
        pooled_height: As in the forward.
        pooled_width: As in the forward.
        spatial_scale: As in the forward.
        sampling_ratio: As in the forward.
        gamma: As in the forward.
    """
    dtype = working_dtype(input)
    pooling = Pooling(pooled_height, pooled_width, spatial_scale, sampling_ratio, aligned=True)
    cells, regions = _as_cells(input.to(dtype)).requires_grad_(), rois.to(dtype)
    total = torch.zeros_like(cells)
    for chunk in _chunks(regions, pooling):
        shift = (gamma * offset[chunk].to(dtype)).requires_grad_() if offset.numel() else None
        with torch.enable_grad():
            pooled = _pool(cells, regions[chunk], shift, pooling, input.shape)
        wanted = [cells] if shift is None else [cells, shift]
        grads = torch.autograd.grad(pooled, wanted, grad_output[chunk].to(dtype))
        total += grads[0]
        if shift is not None:
            grad_offset[chunk] = (gamma * grads[1]).to(grad_offset.dtype)
    images, channels, height, width = input.shape
    grad_input.copy_(total.view(images, height, width, channels).permute(0, 3, 1, 2))


def _as_cells(input: Tensor) -> Tensor:
    """(N, C, H, W) to (N * H * W, C), in memory of its own."""
    return input.detach().permute(0, 2, 3, 1).flatten(0, 2).clone()


def _chunks(rois: Tensor, pooling: Pooling) -> list[slice]:
    """Slices of regions, each small enough to be pooled at once."""
    most = pooling.most_samples(pooling.extents(rois)[2])
    limit = max(1, _CHUNK_CELLS // (4 * pooling.height * pooling.width * most**2))
    return [slice(begin, begin + limit) for begin in range(0, len(rois), limit)]


def _pool(
    cells: Tensor, rois: Tensor, shift: Tensor | None, pooling: Pooling, shape: torch.Size
) -> Tensor:
    """Pool regions, differentiable by cells and shift.

    Args:
        cells: (N * H * W, C).
        rois: (R, 5).
        shift: (R, 2, h, w), shifts in x and in y as shares of the region's size.
        pooling: The bins.
        shape: (N, C, H, W).

    Returns:
        (R, C, h, w).
    """
    start, size, samples = pooling.extents(rois)
    most = pooling.most_samples(samples)
    index = rois[:, 0].long()[:, None, None, None, None] * (shape[2] * shape[3])
    weight = rois.new_ones(())
    # Row by row for y, the first of the two trailing dimensions, and column by column
    # for x, the second: (R, h, w, 2S, 2S) in the end.
    for axis, bins, length, stride in (
        (1, pooling.height, shape[2], shape[3]),
        (0, pooling.width, shape[3], 1),
    ):
        at, share = sample_axis(start[:, axis], size[:, axis], samples[:, axis], bins, most)
        at = at.unsqueeze(2 if axis else 1)
        if shift is not None:
            at = at + (size[:, axis, None, None] * shift[:, axis]).unsqueeze(-1)
        place, part = interpolate_axis(at, share.unsqueeze(1), length)
        trailing = -1 if axis else -2
        index = index + stride * place.unsqueeze(trailing)
        weight = weight * part.unsqueeze(trailing)
    grid = (len(rois), pooling.height, pooling.width)
    index, weight = (tensor.expand(*grid, *tensor.shape[3:]) for tensor in (index, weight))
    pooled = functional.embedding_bag(
        index.reshape(-1, 4 * most**2),
        cells,
        per_sample_weights=weight.reshape(-1, 4 * most**2),
        mode='sum',
    )
    return pooled.view(*grid, -1).permute(0, 3, 1, 2)
