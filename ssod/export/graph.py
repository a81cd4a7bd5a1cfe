"""mmdet's detectors as traceable modules, from the pixels of one image to its boxes.

Backbone, neck and heads are mmdet's. The steps after them, where mmdet's Python code depends on
values, are written again here and give the same boxes in the same order.
"""

from collections.abc import Sequence
from typing import Any

import torch
from mmdet.models import TwoStageDetector
from mmengine.config import ConfigDict
from torch import Tensor, nn
from torch.nn import functional as F

from ssod.export.boxes import Size, best, chosen, decode, larger, pool
from ssod.export.preparation import Preparation
from ssod.ops.grouped_nms import grouped_nms

Found = tuple[Tensor, Tensor, Tensor]
"""Boxes (N, 4), scores (N,) and labels (N,)."""

SCORE_THR = 'score_thr'
"""Name of the score threshold in a graph."""


class TraceableDetector(nn.Module):
    """A detector for one image.

    Args:
        detector: One that :func:`ssod.export.limits.why_not` does not object to; in eval mode.
        preparation: How its images are prepared.
    """

    mean: Tensor
    std: Tensor
    score_thr: Tensor

    def __init__(self, detector: Any, preparation: Preparation) -> None:
        super().__init__()
        self.detector = detector
        self.preparation = preparation
        self.register_buffer('mean', torch.tensor(preparation.mean).view(-1, 1, 1))
        self.register_buffer('std', torch.tensor(preparation.std).view(-1, 1, 1))
        # A buffer, so that it can be replaced in the file.
        self.register_buffer(SCORE_THR, torch.tensor(float(last_test_cfg(detector).score_thr)))

    def forward(self, image: Tensor) -> Found:
        """Detect objects.

        Args:
            image: (1, 3, H, W), RGB from 0 to 255.

        Returns:
            Boxes as (x1, y1, x2, y2) in pixels of ``image``, scores in (0, 1) and int64 labels,
            best first; all empty if nothing is found.
        """
        size = image.shape[-2], image.shape[-1]
        pixels = (image - self.mean) / self.std
        if not self.preparation.network_takes_rgb:
            pixels = pixels.flip(1)
        divisor = self.preparation.pad_size_divisor
        # mmdet pads after the normalization.
        pixels = F.pad(
            pixels, (0, -size[1] % divisor, 0, -size[0] % divisor), value=self.preparation.pad_value
        )
        features = self.detector.extract_feat(pixels)
        if isinstance(self.detector, TwoStageDetector):
            proposals = _proposals(self.detector.rpn_head, features, size)
            return _boxes_of_regions(
                self.detector.roi_head, features, proposals, size, self.score_thr
            )
        return _boxes_of_maps(self.detector.bbox_head, features, size, self.score_thr)


def last_test_cfg(detector: Any) -> ConfigDict:
    """The settings of a detector's last step, which drops boxes with low scores."""
    last = detector.roi_head if isinstance(detector, TwoStageDetector) else detector.bbox_head
    return last.test_cfg


def _flat(level: Tensor, channels: int) -> Tensor:
    """A map (1, A * channels, H, W) as (H * W * A, channels)."""
    return level[0].permute(1, 2, 0).reshape(-1, channels)


def _priors(head: Any, level: Tensor, number: int) -> Tensor:
    """The anchors or points of a map, (H * W * A, 4 or 2)."""
    priors: Tensor = head.prior_generator.single_level_grid_priors(
        (level.shape[-2], level.shape[-1]), level_idx=number, device=level.device
    )
    return priors


def _boxes_of_maps(head: Any, features: Sequence[Tensor], size: Size, score_thr: Tensor) -> Found:
    """Detections of a dense head, as in mmdet's ``BaseDenseHead.predict``."""
    cfg, classes = head.test_cfg, head.cls_out_channels
    maps = head(features)
    found = []
    for number, level in enumerate(zip(*maps, strict=True)):
        scores, places = best(_flat(level[0], 1).sigmoid().squeeze(1), cfg.nms_pre)
        rows = places // classes
        deltas = _flat(level[1], 4)[rows]
        boxes = decode(head.bbox_coder, _priors(head, level[0], number)[rows], deltas, size)
        quality = torch.ones_like(scores)
        if len(level) > 2:  # FCOS's centerness.
            quality = _flat(level[2], 1).sigmoid().squeeze(1)[rows]
        found.append((boxes, scores, places % classes, quality))
    boxes, scores, labels, quality = (torch.cat(part) for part in zip(*found, strict=True))
    sound = (scores > score_thr) & larger(boxes, cfg.get('min_bbox_size', -1))
    boxes, scores, labels = chosen(sound, boxes, scores * quality, labels)
    kept = grouped_nms(boxes, scores, labels, cfg.nms.iou_threshold)[: cfg.max_per_img]
    return boxes[kept], scores[kept], labels[kept]


def _proposals(head: Any, features: Sequence[Tensor], size: Size) -> Tensor:
    """The proposed regions (N, 4), as in mmdet's ``RPNHead.predict``."""
    cfg = head.test_cfg
    found = []
    for number, level in enumerate(zip(*head(features), strict=True)):
        scores, rows = best(_flat(level[0], 1).sigmoid().squeeze(1), cfg.nms_pre)
        deltas = _flat(level[1], 4)[rows]
        boxes = decode(head.bbox_coder, _priors(head, level[0], number)[rows], deltas, size)
        found.append((boxes, scores, torch.full_like(scores, number)))
    boxes, scores, levels = (torch.cat(part) for part in zip(*found, strict=True))
    sound = larger(boxes, cfg.get('min_bbox_size', -1))
    boxes, scores, levels = chosen(sound, boxes, scores, levels)
    kept = grouped_nms(boxes, scores, levels, cfg.nms.iou_threshold)[: cfg.max_per_img]
    return boxes[kept]


def _boxes_of_regions(
    roi_head: Any, features: Sequence[Tensor], regions: Tensor, size: Size, score_thr: Tensor
) -> Found:
    """Detections of a region head, as in mmdet's ``StandardRoIHead.predict``."""
    head, cfg = roi_head.bbox_head, roi_head.test_cfg
    classes = head.num_classes
    logits, deltas = head(pool(roi_head.bbox_roi_extractor, features, regions))
    # A second classifier, if any, comes after the first one and its background.
    scores = logits[:, : classes + 1].softmax(1)[:, :classes].flatten()
    deltas = deltas.reshape(-1, 1 if head.reg_class_agnostic else classes, 4)
    deltas = deltas.expand(-1, classes, -1).reshape(-1, 4)
    each = regions[:, None].expand(-1, classes, -1).reshape(-1, 4)
    labels = torch.arange(classes).expand(regions.shape[0], -1).flatten()
    boxes, scores, labels = chosen(
        scores > score_thr, decode(head.bbox_coder, each, deltas, size), scores, labels
    )
    kept = grouped_nms(boxes, scores, labels, cfg.nms.iou_threshold)[: cfg.max_per_img]
    return boxes[kept], scores[kept], labels[kept]
