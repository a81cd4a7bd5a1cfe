"""RoIAlign: ``roi_align_forward`` and ``roi_align_backward``.

On CUDA both are torchvision's kernels. On the CPU torchvision's backward runs on one
thread and adds its values one by one, which was 65 % of a small detector's training
step; for most maps :mod:`ssod.ops.separable` does the same with matrix products.
"""

from __future__ import annotations

import torch
import torchvision  # noqa: F401  (registers torch.ops.torchvision)
from torch import Tensor

from ssod.ops.extension import unserved
from ssod.ops.precision import working_dtype
from ssod.ops.sampling import Pooling
from ssod.ops.separable import RegionWeights

__all__ = ['roi_align_backward', 'roi_align_forward']

_AVERAGE = 1

# The separable form costs in proportion to the map's cells, torchvision's kernel to the
# sampling points of a bin, so their quotient decides. Measured with torch 2.15 on one
# thread (least processor time of 7 and 3 runs, in milliseconds) for 512 regions of 4
# images, 64 channels, 7x7 bins, square maps. Only the products gain from a second thread,
# so with more threads the edges lie higher than these:
#
#   side  points of  cells per      forward:                  backward:
#         a bin      point          separable  torchvision    separable  torchvision
#     12      1.7          85             5.3          6.7          5.7         69.1
#     12      1.0         144             5.6          5.0          5.7         63.2
#     24      5.0         114             9.8         15.5         11.0        109.8
#     24      2.0         285            11.6          8.0         10.0         73.1
#     48     15.6         147            27.2         44.3         30.6        254.4
#     48      5.7         403            27.3         18.4         28.0        122.7
#    160    141.8         180           255.3        635.7        204.6       1836.5
#    160     14.6        1752           266.8         76.0        217.0        318.7
#    200     10.7        3741           360.1         76.2        294.0        265.9
FORWARD_CELLS_PER_POINT = 200
BACKWARD_CELLS_PER_POINT = 3000

REGIONS_AT_ONCE = 256
"""How many regions torchvision pools in one call."""


def roi_align_forward(
    input: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Average bilinear samples of a map in each bin of each region.

    Source: He et al., Mask R-CNN (ICCV 2017), Sec. 3.

    Args:
        input: (N, C, H, W) map.
        rois: (R, 5) as (image index, x1, y1, x2, y2) in image pixels.
        output: (R, C, aligned_height, aligned_width), written in place.
        argmax_y: Of use to the maximum only, which is not served.
        argmax_x: Of use to the maximum only, which is not served.
        aligned_height: Bins of a region in height.
        aligned_width: Bins of a region in width.
        spatial_scale: Cells of the map for one image pixel.
        sampling_ratio: Samples of a bin in each direction; 0 for one or more to a cell,
            ceil(region's extent / bins).
        pool_mode: 1, the average.
        aligned: Whether pixel centres lie at half coordinates.

    Raises:
        NotImplementedError: If ``pool_mode`` is 0, the maximum.
    """
    if pool_mode != _AVERAGE:
        unserved("roi_align_forward with pool_mode 'max'")()
    pooling = Pooling(aligned_height, aligned_width, spatial_scale, sampling_ratio, aligned)
    dtype = working_dtype(input)
    source, regions = input.to(dtype), rois.to(dtype)
    if _separable(regions, source.shape, pooling, FORWARD_CELLS_PER_POINT):
        with torch.autocast(input.device.type, enabled=False):
            RegionWeights.of(regions, pooling, source.shape).pool(source, output)
        return
    # torchvision has no output to write to, and a second copy of all regions would be the peak of
    # a step's memory.
    parts = (torch.split(tensor, REGIONS_AT_ONCE) for tensor in (regions, output))
    for some, written in zip(*parts, strict=True):
        written.copy_(
            torch.ops.torchvision.roi_align(
                source,
                some,
                spatial_scale,
                aligned_height,
                aligned_width,
                sampling_ratio,
                aligned,
            )
        )


def roi_align_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    grad_input: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Carry the gradient of :func:`roi_align_forward` back to the map.

    Args:
        grad_output: (R, C, aligned_height, aligned_width).
        rois: As in the forward.
        argmax_y: Not used.
        argmax_x: Not used.
        grad_input: (N, C, H, W), written in place.
        aligned_height: As in the forward.
        aligned_width: As in the forward.
        spatial_scale: As in the forward.
        sampling_ratio: As in the forward.
        pool_mode: As in the forward, which refuses what is not served.
        aligned: As in the forward.
    """
    pooling = Pooling(aligned_height, aligned_width, spatial_scale, sampling_ratio, aligned)
    dtype = working_dtype(grad_output)
    regions = rois.to(dtype)
    if _separable(regions, grad_input.shape, pooling, BACKWARD_CELLS_PER_POINT):
        with torch.autocast(regions.device.type, enabled=False):
            RegionWeights.of(regions, pooling, grad_input.shape).spread(grad_output, grad_input)
        return
    grad_input.copy_(
        torch.ops.torchvision._roi_align_backward(
            grad_output.to(dtype),
            regions,
            spatial_scale,
            aligned_height,
            aligned_width,
            *grad_input.shape,
            sampling_ratio,
            aligned,
        )
    )


def _separable(rois: Tensor, shape: torch.Size, pooling: Pooling, cells_per_point: int) -> bool:
    """Whether matrix products are the faster way for these regions of this map."""
    if rois.device.type != 'cpu' or not len(rois):
        return False
    _, _, samples = pooling.extents(rois)
    points = float(samples.prod(1).mean())
    return shape[2] * shape[3] <= cells_per_point * points
