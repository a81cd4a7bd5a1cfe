"""RoIAlign: ``roi_align_forward`` and ``roi_align_backward``.

On CUDA both are torchvision's kernels. On the CPU those take samples one by one, and the backward
pass uses one thread, which took 65 % of a small detector's training step. There we use weighted
sums (:mod:`ssod.ops.weighted_sums`), or for small maps matrix products
(:mod:`ssod.ops.separable`).
"""

import torch
import torchvision  # noqa: F401  (registers torch.ops.torchvision)
from torch import Tensor

from ssod.ops import separable, weighted_sums
from ssod.ops.extension import unserved
from ssod.ops.precision import working_dtype
from ssod.ops.sampling import Pooling

__all__ = ['roi_align_backward', 'roi_align_forward']

_AVERAGE = 1

# Measured with torch 2.15 on one thread (least processor time of 7 and 5 runs, in milliseconds) for
# 512 regions of 4 images, 7x7 bins, square maps:
#
# channels  side points of cells per forward:             backward:
#                    a bin     point     sums torchvision     sums separable torchvision
#     64    12       1.8        80      5.6         6.9     17.6       6.9        73.7
#     64    24       3.4       171      7.0        12.6     24.9      17.8        94.1
#     64    24       7.0        83      8.4        22.5     46.0      10.5       151.8
#     64    48       3.3       701      6.9        12.8     24.9      25.9       111.0
#     64    48       7.0       331     11.5        33.4     50.7      47.0       172.9
#     64    48      16.6       139     22.6        75.2    122.9      28.7       279.3
#     64   160     116.2       220    139.9       623.5    979.8     210.4      2360.0
#     64   200      11.3      3552     25.8        97.4    145.3     350.7       363.0
#    256    24       3.3       175     18.7        56.1     41.1      62.6       403.4
#    256    24       7.0        83     20.6        94.5     55.2      66.8       638.3
#    256    48       3.4       687     18.8        94.1     38.8     149.2       460.6
#    256    48       7.1       326     24.2       117.4     71.3     138.8       620.5
#    256    48      16.9       137     38.2       247.3    135.5     125.1      1291.7
#    256   160     116.8       219    547.5      2470.6   1514.8    1296.3      6318.5
#    256   200       1.8     22456    120.7       164.4    396.6    1878.4       475.8
#    256   200      11.3      3529    139.5       354.4    443.4    1973.1      1285.7
# Products cost in proportion to the map's cells, sums to the sampling points of a bin.
SEPARABLE_CELLS_PER_POINT = 300

OWN_DEVICES = {'cpu'}
"""Devices on which torchvision's kernels are not used."""

REGIONS_AT_ONCE = 256
"""Number of regions that torchvision pools in one call."""


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
        argmax_y: Only for the maximum, which is not provided.
        argmax_x: Only for the maximum, which is not provided.
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
    if source.device.type in OWN_DEVICES:
        with torch.autocast(source.device.type, enabled=False):
            weighted_sums.pool(source, regions, pooling, output)
        return
    # torchvision cannot write into a given output, and a second copy of all regions would be the
    # peak of a step's memory.
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
        pool_mode: As in the forward, which refuses the maximum.
        aligned: As in the forward.
    """
    pooling = Pooling(aligned_height, aligned_width, spatial_scale, sampling_ratio, aligned)
    dtype = working_dtype(grad_output)
    regions = rois.to(dtype)
    if regions.device.type in OWN_DEVICES:
        way = separable if _separable(regions, grad_input.shape, pooling) else weighted_sums
        with torch.autocast(regions.device.type, enabled=False):
            way.spread(grad_output, regions, pooling, grad_input)
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


def _separable(rois: Tensor, shape: torch.Size, pooling: Pooling) -> bool:
    """Whether matrix products compute the gradient of these regions faster than sums."""
    if not len(rois):
        return False
    _, _, samples = pooling.extents(rois)
    points = float(samples.prod(1).mean())
    return shape[2] * shape[3] <= SEPARABLE_CELLS_PER_POINT * points
