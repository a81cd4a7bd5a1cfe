"""The cells of a dense head's maps, as places in the image."""

from typing import Any

import torch
from mmdet.models.dense_heads import FCOSHead, GFLHead
from mmdet.models.task_modules.coders import DistancePointBBoxCoder
from mmengine.structures import InstanceData
from torch import Tensor


class CellGrid:
    """The cells of all levels in one row: level by level, row by row, anchor by anchor.

    Args:
        head: The dense head.
        maps: One of its maps (B, C, H, W) for each level.
    """

    def __init__(self, head: Any, maps: list[Tensor]) -> None:
        device = maps[0].device
        sizes = [level.shape[-2:] for level in maps]
        self.anchors: int = head.num_base_priors
        self.priors = torch.cat(head.prior_generator.grid_priors(sizes, device=device))
        strides = [float(s[0]) for s in head.prior_generator.strides]
        shapes = torch.tensor([tuple(s) for s in sizes])
        cells = shapes.prod(dim=1) * self.anchors
        numbers = torch.tensor(strides), shapes, cells, cells.cumsum(0) - cells
        # Without waiting for the GPU.
        moved = (number.to(device, non_blocking=True) for number in numbers)
        self.strides, self.sizes, cells, self.starts = moved
        levels = torch.arange(len(maps), device=device)
        self.levels = levels.repeat_interleave(cells, output_size=len(self.priors))
        # The place of the prior in a level's first cell, in strides: FCOS has it in the middle of
        # the cell, anchors are at its corner.
        self.offsets = self._centres(self.starts) / self.strides[:, None]

    def inside(self, img_shape: tuple[int, int]) -> Tensor:
        """Which predictions (N,) have their prior's centre inside an image of this shape."""
        return points_inside(self._centres(slice(None)), img_shape)

    def regions(self, index: Tensor, side: int) -> InstanceData:
        """Squares of ``side`` strides around the priors of some predictions."""
        level = self.levels[index]
        centre, half = self._centres(index), self.strides[level, None] * side / 2
        anchor = (index - self.starts[level]) % self.anchors
        return InstanceData(priors=torch.cat([centre - half, centre + half], 1), anchors=anchor)

    def index(self, regions: InstanceData, side: int) -> Tensor:
        """The predictions that regions stand for: the level by size, the prior by its centre."""
        boxes = regions.priors
        size = square_sides(boxes) / side
        level = (size.log()[:, None] - self.strides.log()).abs().argmin(dim=1)
        height, width = self.sizes[level].unbind(dim=1)
        centre = (boxes[:, :2] + boxes[:, 2:]) / 2 / self.strides[level, None]
        nearest = (centre - self.offsets[level] + 0.5).floor().long().clamp(min=0)
        x, y = nearest[:, 0].minimum(width - 1), nearest[:, 1].minimum(height - 1)
        return self.starts[level] + (y * width + x) * self.anchors + regions.anchors

    def decode(self, head: Any, index: Tensor, values: Tensor) -> Tensor:
        """Boxes (N, 4) in pixels from the head's values of some predictions."""
        priors, stride = self.priors[index], self.strides[self.levels[index], None]
        if isinstance(head, GFLHead):
            values = head.integral(values) * stride
        elif isinstance(head, FCOSHead) and head.norm_on_bbox and head.training:
            values = values * stride
        if isinstance(head.bbox_coder, DistancePointBBoxCoder):
            priors = self._centres(index)
        return head.bbox_coder.decode(priors, values)

    def _centres(self, index: Tensor | slice) -> Tensor:
        """Centres (N, 2) in pixels of the priors of some predictions."""
        priors = self.priors[index]
        return (priors[:, :2] + priors[:, 2:]) / 2 if priors.shape[1] == 4 else priors[:, :2]


def points_inside(points: Tensor, img_shape: tuple[int, int]) -> Tensor:
    """Which points (N, 2) are inside an image, to within a hundredth of a pixel."""
    height, width = img_shape[:2]
    (x, y), near = points.unbind(dim=1), 0.01
    return (x > -near) & (y > -near) & (x < width - near) & (y < height - near)


def square_sides(boxes: Tensor) -> Tensor:
    """Sides (N,) of squares with the areas of boxes (N, 4)."""
    return (boxes[:, 2:] - boxes[:, :2]).prod(dim=1).clamp(min=1e-6).sqrt()
