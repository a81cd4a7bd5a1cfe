"""RoIAlign as weighted sums of whole cells.

A bin of a region is a weighted sum of cells of the map. If the channels of a cell are adjacent in
memory, ``embedding_bag`` adds many at a time, on all threads. The gradient of a cell is the sum
over its bins, with the same weights.
"""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from ssod.ops.sampling import Pooling, interpolate_axis, sample_axis

_MOST_REGIONS = 256
_MOST_TERMS = 2**21
"""Most terms in the sums of one piece: 24 MiB of indices and weights."""


def pool(source: Tensor, rois: Tensor, pooling: Pooling, output: Tensor) -> None:
    """Pool a map.

    Args:
        source: (N, C, H, W), float32 or float64.
        rois: (R, 5) of the same precision.
        pooling: How to pool.
        output: (R, C, h, w) of any precision, written in place.
    """
    cells = _cells_first(source)
    for regions, index, weight in _pieces(rois, pooling, source.shape):
        sums = embedding_bag(index, cells, per_sample_weights=weight, mode='sum')
        written = output[regions]
        # Convert to the narrower type first: moving channels is what takes time.
        written.copy_(_channels_first(sums.to(written.dtype), written.shape))


def spread(grad_output: Tensor, rois: Tensor, pooling: Pooling, grad_input: Tensor) -> None:
    """Carry the gradient of :func:`pool` back to the map.

    Args:
        grad_output: (R, C, h, w) of any precision.
        rois: (R, 5), float32 or float64.
        pooling: How they were pooled.
        grad_input: (N, C, H, W), written in place.
    """
    images, channels, height, width = grad_input.shape
    grad = rois.new_zeros(images * height * width, channels)
    for regions, index, weight in _pieces(rois, pooling, grad_input.shape):
        bins = _cells_first(grad_output[regions].to(grad.dtype))
        # Radix sort goes over each byte of the cells' numbers.
        cell, order = index.flatten().to(_narrowest(len(grad))).sort(stable=True)
        ends = cell.bincount(minlength=len(grad)).cumsum(0)
        grad += embedding_bag(
            order // index.shape[1],
            bins,
            ends - ends.diff(prepend=ends.new_zeros(1)),
            per_sample_weights=weight.flatten()[order],
            mode='sum',
        )
    grad_input.copy_(_channels_first(grad, grad_input.shape))


def _pieces(
    rois: Tensor, pooling: Pooling, shape: torch.Size
) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """Yield some regions, and the cells (bins, terms) of their sums with their weights."""
    _, _, height, width = shape
    start, size, samples = pooling.extents(rois)
    bins = pooling.height * pooling.width
    most = pooling.most_samples(samples)
    at_once = max(1, min(_MOST_REGIONS, _MOST_TERMS // (bins * 4 * most**2)))
    for begin in range(0, len(rois), at_once):
        some = slice(begin, begin + at_once)
        most = pooling.most_samples(samples[some])
        (column, across), (row, down) = (
            interpolate_axis(
                *sample_axis(start[some, axis], size[some, axis], samples[some, axis], count, most),
                cells,
            )
            for axis, count, cells in ((0, pooling.width, width), (1, pooling.height, height))
        )
        row = (row + rois[some, 0].long()[:, None, None] * height) * width
        index = row[:, :, None, :, None] + column[:, None, :, None, :]
        weight = down[:, :, None, :, None] * across[:, None, :, None, :]
        terms = len(index) * bins, -1
        yield some, index.reshape(terms), weight.reshape(terms)


def _narrowest(count: int) -> torch.dtype:
    """The smallest of int16, int32 and int64 that holds all numbers below ``count``."""
    types = torch.int16, torch.int32, torch.int64
    return next(dtype for dtype in types if count - 1 <= torch.iinfo(dtype).max)


def _cells_first(planes: Tensor) -> Tensor:
    """(N, C, H, W) as (N * H * W, C)."""
    return planes.permute(0, 2, 3, 1).reshape(-1, planes.shape[1])


def _channels_first(cells: Tensor, shape: torch.Size) -> Tensor:
    """(N * H * W, C) as (N, C, H, W), in the same memory."""
    count, channels, height, width = shape
    return cells.view(count, height, width, channels).permute(0, 3, 1, 2)
