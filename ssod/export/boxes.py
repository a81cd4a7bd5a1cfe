"""What mmdet does with boxes after the network, made traceable: no data-dependent control flow."""

import math
from collections.abc import Sequence
from typing import Any

import torch
import torchvision
from mmdet.models.task_modules import DistancePointBBoxCoder
from torch import Tensor

Size = tuple[int, int]
"""Height and width of an image; symbolic while a graph is traced."""

RATIO_CLIP = abs(math.log(16 / 1000))
"""The logarithm of the largest factor by which mmdet lets a box grow or shrink."""


def decode(coder: Any, priors: Tensor, deltas: Tensor, size: Size) -> Tensor:
    """Boxes from a head's predictions for its anchors or points.

    Args:
        coder: mmdet's ``DeltaXYWHBBoxCoder`` or ``DistancePointBBoxCoder``; both clip.
        priors: (N, 4) anchors or (N, 2) points.
        deltas: (N, 4).
        size: Size of the image, to which boxes are clipped.

    Returns:
        (N, 4) as (x1, y1, x2, y2).
    """
    if isinstance(coder, DistancePointBBoxCoder):
        low, high = priors - deltas[:, :2], priors + deltas[:, 2:]
    else:
        deltas = deltas * deltas.new_tensor(coder.stds) + deltas.new_tensor(coder.means)
        extent = priors[:, 2:] - priors[:, :2]
        centre = (priors[:, :2] + priors[:, 2:]) * 0.5 + extent * deltas[:, :2]
        half = extent * deltas[:, 2:].clamp(-RATIO_CLIP, RATIO_CLIP).exp() * 0.5
        low, high = centre - half, centre + half
    corners = torch.cat([low, high], dim=1)
    x, y = corners[:, 0::2].clamp(0, size[1]), corners[:, 1::2].clamp(0, size[0])
    return torch.stack([x, y], dim=2).flatten(1)


def best(scores: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """At most ``most`` of the highest scores, and their indices; ties keep their order."""
    count = torch.sym_min(most, scores.shape[0])
    found = scores.topk(count)
    return found.values, found.indices


def chosen(where: Tensor, *parts: Tensor) -> list[Tensor]:
    """The rows of some tensors where a mask (N,) is true."""
    rows = where.nonzero().squeeze(1)
    return [part[rows] for part in parts]


def larger(boxes: Tensor, side: float) -> Tensor:
    """Which boxes (N, 4) are wider and higher than ``side``; all of them if it is negative."""
    if side < 0:
        return torch.ones_like(boxes[:, 0], dtype=torch.bool)
    return (boxes[:, 2:] - boxes[:, :2] > side).all(dim=1)


def pool(extractor: Any, features: Sequence[Tensor], boxes: Tensor) -> Tensor:
    """Features of regions, each from the level mmdet uses for a region of its size.

    Args:
        extractor: mmdet's ``SingleRoIExtractor``.
        features: (1, C, H, W) each.
        boxes: (N, 4).

    Returns:
        (N, C, height, width).
    """
    regions = torch.nn.functional.pad(boxes, (1, 0))
    levels = extractor.map_roi_levels(regions, extractor.num_inputs)
    rows, pooled = [], []
    for level, layer in enumerate(extractor.roi_layers):
        rows.append((levels == level).nonzero().squeeze(1))
        pooled.append(
            torchvision.ops.roi_align(
                features[level],
                regions[rows[-1]],
                layer.output_size,
                layer.spatial_scale,
                layer.sampling_ratio,
                layer.aligned,
            )
        )
    return torch.cat(pooled)[torch.cat(rows).argsort()]
