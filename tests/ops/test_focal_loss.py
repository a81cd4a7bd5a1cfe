"""Focal losses against the formula, differentiated by autograd."""

import math

import pytest
import torch
from mmcv.ops import sigmoid_focal_loss, softmax_focal_loss
from torch.nn import functional


def _sigmoid_loss(logits, target, gamma, alpha, weight=None):
    """Eq. 5 of the paper by binary cross entropy."""
    truth = functional.one_hot(target, logits.shape[1] + 1)[:, :-1].to(logits)
    p = logits.sigmoid()
    right = p * truth + (1 - p) * (1 - truth)
    factor = alpha * truth + (1 - alpha) * (1 - truth)
    entropy = functional.binary_cross_entropy_with_logits(logits, truth, reduction='none')
    loss = factor * (1 - right) ** gamma * entropy
    return loss if weight is None else loss * weight[target][:, None]


def _softmax_loss(logits, target, gamma, alpha, weight=None):
    entropy = functional.cross_entropy(logits, target, reduction='none', ignore_index=-1)
    loss = alpha * (1 - (-entropy).exp()) ** gamma * entropy * (target >= 0)
    return loss if weight is None else loss * weight[target.clamp(min=0)]


def _logits(rows):
    generator = torch.Generator().manual_seed(0)
    values = 3 * torch.randn(rows, 4, dtype=torch.double, generator=generator)
    return values.requires_grad_()


def test_no_row():
    for loss in (sigmoid_focal_loss, softmax_focal_loss):
        logits = torch.zeros(0, 4, requires_grad=True)
        total = loss(logits, torch.zeros(0, dtype=torch.long), 2.0, 0.25, None, 'sum')
        total.backward()
        assert total.item() == 0
        assert logits.grad.shape == (0, 4)


def test_one_row_by_hand():
    # p = 0.5 everywhere: (1 - p)² = 1/4, -log p = log 2; 1/4 for the positive of two.
    logits, target = torch.zeros(1, 2), torch.tensor([1])
    loss = sigmoid_focal_loss(logits, target, 2.0, 0.25, None, 'none')
    expected = [0.75 * 0.25 * math.log(2), 0.25 * 0.25 * math.log(2)]
    assert loss[0].tolist() == pytest.approx(expected)
    loss = softmax_focal_loss(logits, target, 2.0, 0.25, None, 'none')
    assert loss.tolist() == pytest.approx([0.25 * 0.25 * math.log(2)])


@pytest.mark.parametrize('weighted', [False, True])
@pytest.mark.parametrize(('gamma', 'alpha'), [(2.0, 0.25), (1.5, 0.6), (0.0, 0.5), (0.5, 1.0)])
@pytest.mark.parametrize('reduction', ['none', 'mean', 'sum'])
def test_sigmoid_equals_the_formula(reduction, gamma, alpha, weighted):
    logits = _logits(6)
    # 4 is the background, which a class weight cannot stand beside.
    target = torch.tensor([0, 3, 2, 1, 1, 0] if weighted else [0, 3, 4, 1, 4, 2])
    weight = torch.tensor([0.5, 2.0, 1.0, 3.0]).double() if weighted else None
    ours = sigmoid_focal_loss(logits, target, gamma, alpha, weight, reduction)
    theirs = _sigmoid_loss(logits, target, gamma, alpha, weight)
    theirs = {'none': theirs, 'mean': theirs.sum() / 6, 'sum': theirs.sum()}[reduction]
    _same_gradients(ours, theirs, logits)


@pytest.mark.parametrize('weighted', [False, True])
@pytest.mark.parametrize(('gamma', 'alpha'), [(2.0, 0.25), (1.5, 0.6), (0.0, 0.5), (0.5, 1.0)])
@pytest.mark.parametrize('reduction', ['mean', 'sum'])
def test_softmax_equals_the_formula(reduction, gamma, alpha, weighted):
    logits = _logits(6)
    target = torch.tensor([0, 3, -1, 1, 2, 2])
    weight = torch.tensor([0.5, 2.0, 1.0, 3.0]).double() if weighted else None
    ours = softmax_focal_loss(logits, target, gamma, alpha, weight, reduction)
    theirs = _softmax_loss(logits, target, gamma, alpha, weight).sum()
    theirs = theirs / 6 if reduction == 'mean' else theirs
    _same_gradients(ours, theirs, logits)


def _same_gradients(ours, theirs, logits):
    torch.testing.assert_close(ours, theirs)
    direction = torch.rand_like(ours)
    (grad,) = torch.autograd.grad(ours, logits, direction)
    (expected,) = torch.autograd.grad(theirs, logits, direction)
    torch.testing.assert_close(grad, expected)


def test_gradcheck():
    logits, target = _logits(3), torch.tensor([0, 4, 2])
    assert torch.autograd.gradcheck(
        lambda x: sigmoid_focal_loss(x, target, 2.0, 0.25, None, 'none'), logits
    )
    assert torch.autograd.gradcheck(
        lambda x: softmax_focal_loss(x, target.clamp(max=3), 2.0, 0.25, None, 'sum'), logits
    )


@pytest.mark.parametrize('loss', [sigmoid_focal_loss, softmax_focal_loss])
@pytest.mark.parametrize('gamma', [0.5, 2.0])
def test_sure_logits_stay_finite(loss, gamma):
    # Surely right and surely wrong.
    logits = torch.tensor([[90.0, -90.0], [90.0, -90.0]], requires_grad=True)
    total = loss(logits, torch.tensor([0, 1]), gamma, 0.25, None, 'sum')
    total.backward()
    assert torch.isfinite(total)
    assert torch.isfinite(logits.grad).all()


def test_half_precision():
    logits, target = _logits(5).detach(), torch.tensor([0, 1, 2, 3, 4])
    half = logits.half().requires_grad_()
    loss = sigmoid_focal_loss(half, target, 2.0, 0.25, None, 'none')
    expected = sigmoid_focal_loss(half.detach().float(), target, 2.0, 0.25, None, 'none')
    assert torch.equal(loss, expected.half())
    loss.sum().backward()
    assert half.grad.dtype == torch.half
