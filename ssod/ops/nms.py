"""Non-maximum suppression: ``nms``, ``softnms`` and ``nms_match``."""

import numpy as np
import torch
import torchvision
from numpy.typing import NDArray
from torch import Tensor

from ssod.ops.precision import working_dtype

__all__ = ['nms', 'nms_match', 'softnms']

_NAIVE, _LINEAR, _GAUSSIAN = range(3)


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int) -> Tensor:
    """Keep the best box of each group of overlapping ones.

    Args:
        boxes: (N, 4) as (x1, y1, x2, y2).
        scores: (N,).
        iou_threshold: A box goes when its IoU with a kept, better one is above this.
        offset: 0, or 1 where (x2, y2) is the last pixel inside the box.

    Returns:
        (K,) int64, indices of the kept boxes, best first.
    """
    dtype = working_dtype(boxes, scores)
    # Carrying x2 and y2 outwards is the same as adding the offset to every extent.
    corners = boxes.to(dtype) + boxes.new_tensor([0, 0, offset, offset], dtype=dtype)
    kept: Tensor = torchvision.ops.nms(corners, scores.to(dtype), iou_threshold)
    return kept


def softnms(
    boxes: Tensor,
    scores: Tensor,
    dets: Tensor,
    iou_threshold: float,
    sigma: float,
    min_score: float,
    method: int,
    offset: int,
) -> Tensor:
    """Lower the scores of overlapping boxes instead of removing them.

    Source: Bodla et al., Soft-NMS (ICCV 2017), Fig. 2. mmcv calls it with CPU tensors,
    because the choice of each box depends on all choices before it.

    Args:
        boxes: (N, 4) as (x1, y1, x2, y2).
        scores: (N,).
        dets: (N, 5), written in place: kept boxes with their lowered scores, in the
            order of choice.
        iou_threshold: From this IoU on, a better box lowers a score (methods 0 and 1).
        sigma: Width of the Gaussian (method 2).
        min_score: A box whose score is lowered below this goes.
        method: 0 sets the score to 0, 1 multiplies by 1 - IoU, 2 by
            exp(-IoU² / sigma) whatever the IoU.
        offset: 0, or 1 where (x2, y2) is the last pixel inside the box.

    Returns:
        (K,) int64, indices of the kept boxes in the order of choice.
    """
    dtype = working_dtype(boxes, scores)
    xyxy: NDArray[np.floating] = boxes.detach().to(dtype).numpy()
    score: NDArray[np.floating] = scores.detach().to(dtype).numpy().copy()
    left = np.arange(len(xyxy))
    kept: list[int] = []
    while left.size:
        place = int(score[left].argmax())
        best = int(left[place])
        left = np.delete(left, place)
        kept.append(best)
        iou = _iou_of_one(xyxy[best], xyxy[left], offset)
        score[left] *= _softened(iou, method, iou_threshold, sigma)
        left = left[score[left] >= min_score]
    chosen = torch.tensor(kept, dtype=torch.long)
    dets[: len(kept), :4] = boxes[chosen]
    dets[: len(kept), 4] = torch.from_numpy(score)[chosen]
    return chosen


def nms_match(dets: Tensor, iou_threshold: float) -> list[list[int]]:
    """Group boxes: each kept one with those it suppresses.

    Source: Cao et al., Prime Sample Attention (CVPR 2020), the groups of Sec. 3.2.

    Args:
        dets: (N, 5) as (x1, y1, x2, y2, score), on the CPU.
        iou_threshold: A box joins the best remaining box from this IoU on.

    Returns:
        One list of indices for each group, in the order of falling scores.
    """
    values: NDArray[np.floating] = dets.detach().to(working_dtype(dets)).numpy()
    left = np.argsort(-values[:, 4], kind='stable')
    groups: list[list[int]] = []
    while left.size:
        iou = _iou_of_one(values[left[0], :4], values[left[1:], :4], offset=0)
        joins = np.concatenate([[True], iou >= iou_threshold])
        groups.append(left[joins].tolist())
        left = left[~joins]
    return groups


def _iou_of_one(
    box: NDArray[np.floating], others: NDArray[np.floating], offset: int
) -> NDArray[np.floating]:
    """IoU of one box (4,) with others (M, 4); 0 for a pair of empty boxes."""
    low = np.maximum(box[:2], others[:, :2])
    high = np.minimum(box[2:], others[:, 2:])
    inter = (high - low + offset).clip(min=0).prod(axis=1)
    area = (box[2:] - box[:2] + offset).prod()
    union = area + (others[:, 2:] - others[:, :2] + offset).prod(axis=1) - inter
    iou: NDArray[np.floating] = np.divide(inter, union, out=np.zeros_like(inter), where=union > 0)
    return iou


def _softened(
    iou: NDArray[np.floating], method: int, iou_threshold: float, sigma: float
) -> NDArray[np.floating]:
    """Factor by which each score is multiplied, (M,) like the IoU."""
    if method == _GAUSSIAN:
        factor: NDArray[np.floating] = np.exp(-(iou**2) / sigma)
        return factor
    lowered = 1 - iou if method == _LINEAR else np.zeros_like(iou)
    return np.where(iou >= iou_threshold, lowered, np.ones_like(iou))
