"""Unbiased Teacher's focal loss, and what its configs say."""

import math

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from torch.nn import functional as F

from ssod.recipes.unbiased_teacher import SoftmaxFocalLoss


def logits(*probabilities):
    return torch.tensor([probabilities]).log()


@pytest.mark.parametrize(
    ('scores', 'label', 'gamma', 'loss'),
    [
        # (1 - 1/2)^2 · ln 2.
        (logits(0.5, 0.25, 0.25), 0, 2.0, math.log(2) / 4),
        # Background is a class like the others: (3/4)^1.5 · ln 4.
        (logits(0.5, 0.25, 0.25), 2, 1.5, 0.75**1.5 * math.log(4)),
        # γ = 0 is the cross entropy.
        (logits(0.1, 0.9), 0, 0.0, -math.log(0.1)),
        # Certain and right.
        (torch.tensor([[100.0, 0.0]]), 0, 1.5, 0.0),
    ],
)
def test_focal_loss(scores, label, gamma, loss):
    found = SoftmaxFocalLoss(gamma)(scores, torch.tensor([label]))
    assert found.item() == pytest.approx(loss, abs=1e-6)


def test_weights_and_divisors():
    focal = SoftmaxFocalLoss(gamma=0.0, loss_weight=2.0)
    scores, labels = torch.randn(4, 3, generator=torch.manual_seed(0)), torch.tensor([0, 1, 2, 2])
    each = 2 * F.cross_entropy(scores, labels, reduction='none')
    weights = torch.tensor([1.0, 0.5, 0.0, 2.0])
    torch.testing.assert_close(focal(scores, labels), each.mean())
    torch.testing.assert_close(focal(scores, labels, weights), (each * weights).sum() / 4)
    torch.testing.assert_close(focal(scores, labels, avg_factor=8), each.sum() / 8)
    override = focal(scores, labels, weights, reduction_override='none')
    torch.testing.assert_close(override, each * weights)
    torch.testing.assert_close(focal(scores, labels, reduction_override='sum'), each.sum())


@pytest.mark.parametrize('gamma', [0.5, 1.5])
def test_the_gradient_of_a_certain_region_is_finite(gamma):
    scores = torch.tensor([[50.0, 0.0], [0.0, 200.0]], requires_grad=True)
    SoftmaxFocalLoss(gamma)(scores, torch.tensor([0, 0])).backward()
    assert scores.grad.isfinite().all()


def test_no_region():
    assert SoftmaxFocalLoss()(torch.zeros(0, 3), torch.zeros(0).long()).item() == 0


def test_a_negative_gamma_is_refused():
    with pytest.raises(ValueError, match='gamma is -1, but must be at least 0'):
        SoftmaxFocalLoss(gamma=-1)


def test_boxes_are_not_learnt_from_pseudo_labels(digits_cfg):
    own = Config.fromfile('configs/unbiasedteacher_fasterrcnn_digits10pct.py')
    digits_cfg.model = own.model
    digits_cfg.model.detector.test_cfg.rcnn.score_thr = 0.01
    runner = Runner.from_cfg(digits_cfg)
    runner.train()
    logged = runner.message_hub.log_scalars
    pseudo = {k.removeprefix('train/pseudo_') for k in logged if 'pseudo' in k and 'loss' in k}
    assert pseudo == {'loss_cls', 'loss_rpn_cls'}
    assert all(np.isfinite(value.data[0]).all() for value in logged.values())
    assert isinstance(runner.model.student.roi_head.bbox_head.loss_cls, SoftmaxFocalLoss)
