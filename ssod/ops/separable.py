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
from typing import NamedTuple

import torch
from torch import Tensor

# Elements of the intermediate product of one chunk of regions: 4 MiB in float32 stays in
# the cache and bounds the memory whatever the number of regions.
_CHUNK_ELEMENTS = 2**20


class Pooling(NamedTuple):
    """How regions are cut into bins and sampled; see ``roi_align_forward``."""

    height: int
    width: int
    spatial_scale: float
    sampling_ratio: int
    aligned: bool

    def extents(self, rois: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Measure regions on the map.

        Args:
            rois: (R, 5) as (image index, x1, y1, x2, y2) in image pixels.

        Returns:
            Regions' first corners (R, 2) as (x, y), their sizes (R, 2) as (width,
            height), both in cells, and the samples of a bin in height and in width,
            (R,) each.
        """
        corners = rois[:, 1:] * self.spatial_scale - (0.5 if self.aligned else 0.0)
        size = corners[:, 2:] - corners[:, :2]
        if not self.aligned:
            size = size.clamp(min=1)
        if self.sampling_ratio > 0:
            samples = torch.full_like(size, self.sampling_ratio)
        else:
            samples = (size / size.new_tensor([self.width, self.height])).ceil().clamp(min=0)
        return corners[:, :2], size, samples[:, 1], samples[:, 0]


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
        start, size, samples_y, samples_x = pooling.extents(rois)
        return cls(
            _axis_weights(start[:, 1], size[:, 1], samples_y, pooling.height, shape[2]),
            _axis_weights(start[:, 0], size[:, 0], samples_x, pooling.width, shape[3]),
            rois[:, 0].long(),
        )

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
            grad_output: (R, C, h, w).
            grad_input: (N, C, H, W), written in place.
        """
        images, channels, height, width = grad_input.shape
        lines = grad_output.new_zeros(images, height, width * channels)
        for image, chunk in self._chunks(images, channels):
            rows, columns = self.rows[chunk], self.columns[chunk]
            grad = grad_output[chunk].permute(0, 2, 3, 1).contiguous()
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
        for image, regions in enumerate(by_image.split(counts)):
            for chunk in regions.split(limit):
                if len(chunk):
                    yield image, chunk


def _axis_weights(start: Tensor, size: Tensor, samples: Tensor, bins: int, cells: int) -> Tensor:
    """Average bilinear weights along one axis.

    Args:
        start: (R,) regions' beginning, in cells.
        size: (R,) regions' extent, in cells.
        samples: (R,) whole number of samples of a bin.
        bins: Bins of a region.
        cells: Cells of the map.

    Returns:
        (R, bins, cells), zero for samples more than one cell outside the map and for
        regions without samples.
    """
    dtype = start.dtype
    step = torch.arange(max(1, int(samples.max())), dtype=dtype)
    count = samples.clamp(min=1)[:, None, None]
    bin_size = (size / bins)[:, None, None]
    first = start[:, None, None] + torch.arange(bins, dtype=dtype)[:, None] * bin_size
    at = first + (step + 0.5) * bin_size / count
    taken = (step < samples[:, None, None]) & (at >= -1) & (at <= cells)
    share = taken.to(dtype) / count
    cell = torch.arange(cells, dtype=dtype)
    weight = (1 - (at.clamp(0, cells - 1).unsqueeze(-1) - cell).abs()).clamp(min=0)
    return (share.unsqueeze(-2) @ weight).squeeze(-2)
