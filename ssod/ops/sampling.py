"""Where RoIAlign samples a map, along one axis at a time."""

from typing import NamedTuple

import torch
from torch import Tensor


class Pooling(NamedTuple):
    """How regions are cut into bins and sampled.

    Attributes:
        height: Bins of a region in height.
        width: Bins of a region in width.
        spatial_scale: Cells of the map for one image pixel.
        sampling_ratio: Samples of a bin in each direction; 0 for one or more to a cell.
        aligned: Whether pixel centres lie at half coordinates.
    """

    height: int
    width: int
    spatial_scale: float
    sampling_ratio: int
    aligned: bool

    def extents(self, rois: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Measure regions on the map.

        Args:
            rois: (R, 5) as (image index, x1, y1, x2, y2) in image pixels.

        Returns:
            Regions' first corners and sizes, in cells, and the whole numbers of samples
            of a bin, 0 for a region of zero, negative or infinite size: (R, 2) each as (x, y).
        """
        corners = rois[:, 1:] * self.spatial_scale - (0.5 if self.aligned else 0.0)
        size = corners[:, 2:] - corners[:, :2]
        if not self.aligned:
            size = size.clamp(min=1)
        if self.sampling_ratio > 0:
            samples = torch.full_like(size, self.sampling_ratio)
        else:
            bins = torch.tensor([self.width, self.height]).to(size, non_blocking=True)
            samples = (size / bins).ceil().clamp(min=0).nan_to_num(0, posinf=0)
        return corners[:, :2], size, samples

    def most_samples(self, samples: Tensor) -> int:
        """Largest number of samples of a bin, given those of :meth:`extents`, at least 1.

        Waits for a CUDA device only where the number depends on the regions.
        """
        if self.sampling_ratio > 0:
            return self.sampling_ratio
        return max(1, int(samples.max())) if samples.numel() else 1


def sample_axis(
    start: Tensor, size: Tensor, samples: Tensor, bins: int, most: int
) -> tuple[Tensor, Tensor]:
    """Place the samples of each bin along one axis.

    Args:
        start: (R,) regions' beginning, in cells.
        size: (R,) regions' extent, in cells.
        samples: (R,) whole number of samples of a bin.
        bins: Bins of a region.
        most: The largest of ``samples``, S.

    Returns:
        Samples' places, (R, bins, S), and each sample's share in its bin's average,
        (R, 1, S): 0 beyond the region's own number of samples.
    """
    step = torch.arange(most, device=start.device, dtype=start.dtype)
    count = samples.clamp(min=1)[:, None, None]
    bin_size = (size / bins)[:, None, None]
    bin_start = torch.arange(bins, device=start.device, dtype=start.dtype)[:, None] * bin_size
    at = start[:, None, None] + bin_start + (step + 0.5) * bin_size / count
    share = (step < samples[:, None, None]).to(start.dtype) / count
    return at, share


def interpolate_axis(at: Tensor, share: Tensor, cells: int) -> tuple[Tensor, Tensor]:
    """Split samples between the two cells around them, linearly.

    Args:
        at: (..., S) places, in cells; the first cell's is 0.
        share: Weight of each sample, broadcast to ``at``.
        cells: Cells of the axis.

    Returns:
        Indices of cells, int64, and their weights, (..., 2 * S) each. A place up to one
        cell outside counts as the nearest cell; one further out, or nan, as nothing.
    """
    inside = (at >= -1) & (at <= cells)
    place = at.nan_to_num(0).clamp(0, cells - 1)
    low = place.detach().floor()
    fraction = place - low
    share = share * inside
    index = torch.cat([low, (low + 1).clamp(max=cells - 1)], dim=-1).long()
    return index, torch.cat([share * (1 - fraction), share * fraction], dim=-1)
