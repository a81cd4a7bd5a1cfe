"""The gradient of RoIAlign as matrix products.

A bilinear sample is a weighted sum over rows and columns, and so is the average over a
bin's grid of samples: for a region r and a channel c

    out[r, c] = Wy[r] · map[c] · Wx[r]ᵀ      (h×w) = (h×H) · (H×W) · (W×w)

where row p of ``Wy[r]`` is the mean of the bilinear weights of the bin's sampling points.
The transposes carry the gradient back, without a scatter.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from ssod.ops.sampling import Pooling, interpolate_axis, sample_axis

# Elements of the intermediate product of one chunk of regions: 4 MiB in float32 stays in
# the cache and bounds the memory whatever the number of regions.
_CHUNK_ELEMENTS = 2**20


def spread(grad_output: Tensor, rois: Tensor, pooling: Pooling, grad_input: Tensor) -> None:
    """Carry the gradient of pooled regions back to the map.

    Args:
        grad_output: (R, C, h, w), of any precision.
        rois: (R, 5), float32 or float64.
        pooling: How they were pooled.
        grad_input: (N, C, H, W), written in place.
    """
    images, channels, height, width = grad_input.shape
    start, size, samples = pooling.extents(rois)
    most = pooling.most_samples(samples)
    rows, columns = (
        _axis_weights(start[:, axis], size[:, axis], samples[:, axis], bins, most, cells)
        for axis, bins, cells in ((1, pooling.height, height), (0, pooling.width, width))
    )
    lines = rows.new_zeros(images, height, width * channels)
    limit = max(1, _CHUNK_ELEMENTS // (pooling.height * width * channels))
    for image, some in _chunks(rois[:, 0].long(), images, limit):
        grad = grad_output[some].to(lines.dtype).permute(0, 2, 3, 1).contiguous()
        across = columns[some].transpose(1, 2)[:, None] @ grad
        across = across.view(len(some) * pooling.height, width * channels)
        lines[image].addmm_(rows[some].flatten(0, 1).t(), across)
    grad_input.copy_(lines.view(images, height, width, channels).permute(0, 3, 1, 2))


def _chunks(image: Tensor, images: int, limit: int) -> Iterator[tuple[int, Tensor]]:
    """Yield an image and the indices of some of its regions, until all are done."""
    by_image = image.argsort(stable=True)
    counts: list[int] = image.bincount(minlength=images).tolist()
    for number, regions in enumerate(torch.split(by_image, counts)):
        for chunk in torch.split(regions, limit):
            if len(chunk):
                yield number, chunk


def _axis_weights(
    start: Tensor, size: Tensor, samples: Tensor, bins: int, most: int, cells: int
) -> Tensor:
    """Average bilinear weights along one axis, (R, bins, cells); see ``sample_axis``."""
    at, share = sample_axis(start, size, samples, bins, most)
    index, weight = interpolate_axis(at, share, cells)
    return at.new_zeros(len(start), bins, cells).scatter_add_(2, index, weight)
