"""RoIAlign as matrix products.

A bilinear sample is a weighted sum over rows and columns, and so is the average over a
bin's grid of samples: for a region r and a channel c

    out[r, c] = Wy[r] · map[c] · Wx[r]ᵀ      (h×w) = (h×H) · (H×W) · (W×w)

where row p of ``Wy[r]`` is the mean of the bilinear weights of the bin's sampling points.
The transposes carry the gradient back, without a scatter.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ssod.ops.sampling import Pooling, interpolate_axis, sample_axis

# Elements of the intermediate product of one chunk of regions: 4 MiB in float32 stays in
# the cache and bounds the memory whatever the number of regions.
_CHUNK_ELEMENTS = 2**20


@dataclass
class RegionWeights:
    """What each cell weighs in each bin of each region.

    Attributes:
        rows: (R, h, H).
        columns: (R, w, W).
        image: (R,) int64, index of the region's image.
    """

    rows: Tensor
    columns: Tensor
    image: Tensor

    @classmethod
    def of(cls, rois: Tensor, pooling: Pooling, shape: torch.Size) -> RegionWeights:
        """Weigh the cells of a map of ``shape`` (N, C, H, W) for regions (R, 5)."""
        start, size, samples = pooling.extents(rois)
        most = pooling.most_samples(samples)
        rows, columns = (
            _axis_weights(start[:, axis], size[:, axis], samples[:, axis], bins, most, cells)
            for axis, bins, cells in ((1, pooling.height, shape[2]), (0, pooling.width, shape[3]))
        )
        return cls(rows, columns, rois[:, 0].long())

    def pool(self, source: Tensor, output: Tensor) -> None:
        """Pool a map.

        Args:
            source: (N, C, H, W).
            output: (R, C, h, w), written in place.
        """
        images, channels, height, width = source.shape
        lines = source.permute(0, 2, 3, 1).reshape(images, height, width * channels)
        for image, chunk in self._chunks(images, channels):
            rows, columns = self.rows[chunk], self.columns[chunk]
            pooled = rows.flatten(0, 1) @ lines[image]
            pooled = pooled.view(*rows.shape[:2], width, channels)
            output[chunk] = (columns[:, None] @ pooled).permute(0, 3, 1, 2).to(output.dtype)

    def spread(self, grad_output: Tensor, grad_input: Tensor) -> None:
        """Carry the gradient of :meth:`pool` back to the map.

        Args:
            grad_output: (R, C, h, w), of any precision.
            grad_input: (N, C, H, W), written in place.
        """
        images, channels, height, width = grad_input.shape
        lines = self.rows.new_zeros(images, height, width * channels)
        for image, chunk in self._chunks(images, channels):
            rows, columns = self.rows[chunk], self.columns[chunk]
            grad = grad_output[chunk].to(lines.dtype).permute(0, 2, 3, 1).contiguous()
            spread = columns.transpose(1, 2)[:, None] @ grad
            spread = spread.view(rows.shape[0] * rows.shape[1], width * channels)
            lines[image].addmm_(rows.flatten(0, 1).t(), spread)
        grad_input.copy_(lines.view(images, height, width, channels).permute(0, 3, 1, 2))

    def _chunks(self, images: int, channels: int) -> Iterator[tuple[int, Tensor]]:
        """Yield an image and the indices of some of its regions, until all are done."""
        per_region = self.rows.shape[1] * self.columns.shape[2] * channels
        limit = max(1, _CHUNK_ELEMENTS // max(1, per_region))
        by_image = self.image.argsort(stable=True)
        counts: list[int] = self.image.bincount(minlength=images).tolist()
        for image, regions in enumerate(torch.split(by_image, counts)):
            for chunk in torch.split(regions, limit):
                if len(chunk):
                    yield image, chunk


def _axis_weights(
    start: Tensor, size: Tensor, samples: Tensor, bins: int, most: int, cells: int
) -> Tensor:
    """Average bilinear weights along one axis, (R, bins, cells); see ``sample_axis``."""
    at, share = sample_axis(start, size, samples, bins, most)
    index, weight = interpolate_axis(at, share, cells)
    return at.new_zeros(len(start), bins, cells).scatter_add_(2, index, weight)
