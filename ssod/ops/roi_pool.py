"""RoIPool: ``roi_pool_forward`` and ``roi_pool_backward``.

torchvision's RoIPool rounds the region's corners before it cuts bins; mmcv's cuts bins
first and takes every cell they touch. Here we compute mmcv's bins and give each to
torchvision's kernel as a region of one bin, for which rounding changes nothing.
"""

import torch
import torchvision  # noqa: F401  (registers torch.ops.torchvision)
from torch import Tensor

from ssod.ops.precision import working_dtype

__all__ = ['roi_pool_backward', 'roi_pool_forward']


def roi_pool_forward(
    input: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax: Tensor,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
) -> None:
    """Take the maximum of a map in each bin of each region.

    Source: Girshick, Fast R-CNN (ICCV 2015), Sec. 2.1.

    Args:
        input: (N, C, H, W) map.
        rois: (R, 5) as (image index, x1, y1, x2, y2) in image pixels, (x2, y2) being the
            last pixel inside.
        output: (R, C, pooled_height, pooled_width), written in place; 0 for a bin that
            is outside the map.
        argmax: int32, shaped as ``output``, written in place: the place of the maximum in
            its (H, W) map, -1 for none.
        pooled_height: Bins of a region in height.
        pooled_width: Bins of a region in width.
        spatial_scale: Cells of the map for one image pixel.
    """
    dtype = working_dtype(input)
    bins = _bins(rois.to(dtype), input.shape, pooled_height, pooled_width, spatial_scale)
    values, places = torch.ops.torchvision.roi_pool(input.to(dtype), bins, 1.0, 1, 1)
    layout = (len(rois), pooled_height, pooled_width, input.shape[1])
    output.copy_(values.view(layout).permute(0, 3, 1, 2))
    argmax.copy_(places.view(layout).permute(0, 3, 1, 2))


def roi_pool_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax: Tensor,
    grad_input: Tensor,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
) -> None:
    """Carry the gradient of :func:`roi_pool_forward` back to the maximal cells.

    Args:
        grad_output: (R, C, pooled_height, pooled_width).
        rois: As in the forward.
        argmax: As the forward wrote it.
        grad_input: (N, C, H, W), written in place.
        pooled_height: As in the forward.
        pooled_width: As in the forward.
        spatial_scale: As in the forward.
    """
    dtype = working_dtype(grad_output)
    # The kernel reads only the image index of a region.
    regions = rois.to(dtype).repeat_interleave(pooled_height * pooled_width, dim=0)
    layout = (len(regions), grad_input.shape[1], 1, 1)
    grad, places = (
        tensor.permute(0, 2, 3, 1).reshape(layout).contiguous() for tensor in (grad_output, argmax)
    )
    grad_input.copy_(
        torch.ops.torchvision._roi_pool_backward(
            grad.to(dtype), regions, places, 1.0, 1, 1, *grad_input.shape
        )
    )


def _bins(
    rois: Tensor, shape: torch.Size, pooled_height: int, pooled_width: int, scale: float
) -> Tensor:
    """Cut regions into bins of whole cells.

    Returns:
        (R * pooled_height * pooled_width, 5) as (image index, first and last cell inside
        in x and y); an empty bin lies below the map.
    """
    height, width = shape[2:]
    y1, y2 = _axis_bins(rois[:, 2], rois[:, 4], pooled_height, height, scale)
    x1, x2 = _axis_bins(rois[:, 1], rois[:, 3], pooled_width, width, scale)
    empty = (y2 <= y1)[:, :, None] | (x2 <= x1)[:, None, :]
    grid = (len(rois), pooled_height, pooled_width)
    bins = torch.stack(
        [
            rois[:, 0, None, None].expand(grid),
            x1[:, None, :].expand(grid),
            y1[:, :, None].expand(grid).masked_fill(empty, height),
            (x2 - 1)[:, None, :].expand(grid),
            (y2 - 1)[:, :, None].expand(grid).masked_fill(empty, height),
        ],
        dim=-1,
    )
    return bins.view(-1, 5)


def _axis_bins(
    first: Tensor, last: Tensor, bins: int, cells: int, scale: float
) -> tuple[Tensor, Tensor]:
    """First cell of each bin and the cell after its last, (R, bins) each."""
    start = first * scale
    size = ((last + 1) * scale - start) / bins
    edge = torch.arange(bins, device=first.device, dtype=first.dtype)
    begin = (edge * size[:, None] + start[:, None]).floor()
    end = ((edge + 1) * size[:, None] + start[:, None]).ceil()
    # A region that is turned inside out has no cell.
    end = end.where(size[:, None] > 0, begin)
    return begin.clamp(0, cells), end.clamp(0, cells)
