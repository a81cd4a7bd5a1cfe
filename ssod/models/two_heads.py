"""Two classifiers on one region head: one for labels, one for the consistency loss."""

from typing import Any

from mmdet.models.roi_heads.bbox_heads import Shared2FCBBoxHead
from mmdet.registry import MODELS
from mmengine.structures import InstanceData
from torch import Tensor, nn

from ssod.losses.named import Losses
from ssod.strict import check_ranges


@MODELS.register_module()
class TwoHeadBBoxHead(Shared2FCBBoxHead):
    """A region head with a second classifier, for the consistency loss only.

    Mean Teacher (Tarvainen & Valpola 2017, section 3.4 and appendix B.2): instead of one classifier
    that fits the labels and agrees with the teacher at once, there is one for each, tied by the
    mean squared distance of their logits. The first one learns labels and pseudo-labels and
    predicts; the student's second one learns from the teacher's first one. ``cls_score`` is
    (N, 2 (K + 1)): K classes and background of the first one, then of the second one.

    For a ``StandardRoIHead``; a cascade would misread the scores by which it refines.

    Args:
        logit_distance: Weight of the distance; the authors' code has 0.01.
        kwargs: See mmdet's ``Shared2FCBBoxHead``.

    Raises:
        ValueError: If the weight is negative.
    """

    def __init__(self, *args: Any, logit_distance: float = 0.01, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        valid = logit_distance >= 0
        check_ranges('TwoHeadBBoxHead', ('logit_distance', logit_distance, valid, 'at least 0'))
        self.logit_distance = logit_distance
        self.fc_cls = nn.Linear(self.cls_last_dim, 2 * (self.num_classes + 1))

    def loss(self, cls_score: Tensor | None, *args: Any, **kwargs: Any) -> Losses:
        """The losses of the first classifier and of boxes, and ``loss_distance``."""
        if cls_score is None:
            losses: Losses = super().loss(None, *args, **kwargs)
            return losses
        first, second = cls_score.chunk(2, dim=1)
        losses = super().loss(first, *args, **kwargs)
        distance = (first - second).square().sum() / max(first.numel(), 1)
        return {**losses, 'loss_distance': self.logit_distance * distance}

    def _predict_by_feat_single(
        self, roi: Tensor, cls_score: Tensor, *args: Any, **kwargs: Any
    ) -> InstanceData:
        """Predictions of the first classifier."""
        return super()._predict_by_feat_single(roi, cls_score.chunk(2, dim=1)[0], *args, **kwargs)
