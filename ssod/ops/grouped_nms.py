"""Non-maximum suppression within groups, such as the classes or levels of an image's boxes."""

from collections.abc import Mapping
from typing import Any

import torch
import torchvision
from torch import Tensor

from ssod.ops.precision import working_dtype


def grouped_nms(
    boxes: Tensor, scores: Tensor, groups: Tensor, iou_threshold: float, most: int = 0
) -> Tensor:
    """Indices of the boxes that no better one of their group overlaps, best first.

    Each group is offset to its own place, as in mmcv's ``batched_nms``, so rounding is the same.
    Whether a box is kept depends only on better ones, so if only some are wanted, only the best
    boxes are examined: time grows with the square of their number. A GPU examines all of them,
    because if the best did not suffice, we would have to wait for it twice.

    Args:
        boxes: (N, 4), none of them left of or above the image.
        scores: (N,).
        groups: (N,), whole numbers from 0 on.
        iou_threshold: A box goes when its IoU with a kept, better one is above this.
        most: Most boxes to find; all if not above 0.
    """
    # The zero is for the case without boxes, which have no maximum.
    far = torch.cat([boxes.flatten(), boxes.new_zeros(1)]).max() + 1
    moved = boxes + (groups.to(boxes) * far)[:, None]
    dtype = working_dtype(boxes, scores)
    moved, scores = moved.to(dtype), scores.to(dtype)
    looked_at = 2 * most
    if boxes.is_cuda or not 0 < looked_at < len(boxes):
        kept: Tensor = torchvision.ops.nms(moved, scores, iou_threshold)
        return kept[:most] if most > 0 else kept
    # Sorted as in torchvision, so equal scores have the same order.
    order = scores.argsort(descending=True, stable=True)
    while True:
        best = order[:looked_at]
        found = best[torchvision.ops.nms(moved[best], scores[best], iou_threshold)[:most]]
        if len(found) == most or looked_at >= len(boxes):
            return found
        looked_at *= 2


def plain_nms(cfg: Mapping[str, Any] | None) -> bool:
    """Whether :func:`grouped_nms` supports mmcv's settings; ``None`` stands for no suppression."""
    if cfg is None:
        return False
    return cfg.get('type', 'nms') == 'nms' and cfg.keys() - {'type'} == {'iou_threshold'}
