"""Unbiased Teacher (Liu et al., Unbiased Teacher for Semi-Supervised Object Detection, ICLR 2021).

Most of it is settings: burn-in, a slow teacher, a fixed threshold, no regression to pseudo-boxes.
This module has the rest: the focal loss of a softmax, against class imbalance.
"""

import torch
from mmdet.registry import MODELS
from torch import Tensor, nn
from torch.nn import functional as F

from ssod.strict import check_ranges, strict_settings


@MODELS.register_module()
@strict_settings
class SoftmaxFocalLoss(nn.Module):
    """(1 - p)^γ times the cross entropy of a softmax, where p is the true class's probability.

    Section 3.3 of the paper: Lin et al.'s (2017) focal loss, applied to the region head's softmax
    instead of sigmoids. Use it as the ``loss_cls`` of mmdet's region heads.

    Args:
        gamma: γ, at least 0; 0 is the cross entropy. The authors' code has 1.5.
        loss_weight: Weight of the loss.

    Raises:
        ValueError: If γ is negative.
    """

    use_sigmoid = False
    custom_cls_channels = False

    def __init__(self, gamma: float = 1.5, loss_weight: float = 1.0) -> None:
        super().__init__()
        check_ranges('SoftmaxFocalLoss', ('gamma', gamma, gamma >= 0, 'at least 0'))
        self.gamma = gamma
        self.loss_weight = loss_weight

    def forward(
        self,
        cls_score: Tensor,
        label: Tensor,
        weight: Tensor | None = None,
        avg_factor: float | None = None,
        reduction_override: str | None = None,
    ) -> Tensor:
        """The loss.

        Args:
            cls_score: Logits (N, K + 1), background last.
            label: Class numbers (N,), K for background.
            weight: Weights of the regions, (N,); 1 if ``None``.
            avg_factor: Divisor of the sum; N if ``None``.
            reduction_override: ``'none'`` for the losses (N,), ``'sum'`` for their sum.
        """
        cross_entropy = F.cross_entropy(cls_score.float(), label, reduction='none')
        # Above 0, where a fractional power has no finite gradient.
        missing = (1 - torch.exp(-cross_entropy)).clamp(min=1e-7)
        losses = self.loss_weight * missing**self.gamma * cross_entropy
        if weight is not None:
            losses = losses * weight
        if reduction_override == 'none':
            return losses
        if reduction_override == 'sum':
            return losses.sum()
        return losses.sum() / max(avg_factor if avg_factor is not None else len(losses), 1e-6)
