"""Consistency distances, against values computed by hand."""

import math

import pytest
import torch

from ssod.losses.consistency import box_distance, class_distance, foreground, mean_over_regions


def logit(p):
    return math.log(p / (1 - p))


SOFT = torch.tensor([[0.5, 0.25, 0.25], [0.2, 0.2, 0.6]]).log()
OTHER = torch.tensor([[0.25, 0.5, 0.25], [0.2, 0.2, 0.6]]).log()
YES_NO = torch.tensor([[logit(0.5), logit(0.25)]])
OTHER_YES_NO = torch.tensor([[logit(0.75), logit(0.25)]])


@pytest.mark.parametrize(
    ('student', 'teacher', 'kind', 'softmax', 'expected'),
    [
        # Mean over three classes of (0.25², 0.25², 0); equal distributions are 0 apart.
        (SOFT, OTHER, 'mse', True, [2 * 0.0625 / 3, 0.0]),
        # KL(teacher ‖ student) = 0.25 ln(1/2) + 0.5 ln 2 = 0.25 ln 2.
        (SOFT, OTHER, 'kl', True, [0.25 * math.log(2), 0.0]),
        # Sigmoids: ((0.75 - 0.5)² + 0) / 2.
        (YES_NO, OTHER_YES_NO, 'mse', False, [0.03125]),
        # 0.75 ln(0.75/0.5) + 0.25 ln(0.25/0.5), and nothing for the second class.
        (YES_NO, OTHER_YES_NO, 'kl', False, [0.75 * math.log(1.5) + 0.25 * math.log(0.5)]),
        # No regions.
        (torch.zeros(0, 3), torch.zeros(0, 3), 'mse', True, []),
        (torch.zeros(0, 3), torch.zeros(0, 3), 'kl', False, []),
    ],
)
def test_class_distance(student, teacher, kind, softmax, expected):
    distance = class_distance(student, teacher, kind, softmax)
    assert distance.tolist() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize('kind', ['mse', 'kl'])
@pytest.mark.parametrize('softmax', [True, False])
def test_extreme_logits_stay_finite_and_the_teacher_gets_no_gradient(kind, softmax):
    student = torch.tensor([[200.0, -200.0]], requires_grad=True)
    teacher = torch.tensor([[-200.0, 200.0]], requires_grad=True)
    distance = class_distance(student, teacher, kind, softmax).sum()
    distance.backward()
    assert math.isfinite(distance.item()) and distance > 0
    assert torch.isfinite(student.grad).all()
    assert teacher.grad is None


def test_box_distance_is_in_units_of_the_region():
    region = torch.tensor([[0.0, 0, 10, 20]])
    student, teacher = torch.tensor([[1.0, 2, 10, 20]]), torch.tensor([[0.0, 0, 10, 20]])
    # (0.1² + 0.1² + 0 + 0) / 4, whatever the scale.
    assert box_distance(student, teacher, region).tolist() == pytest.approx([0.005])
    scaled = box_distance(student * 7, teacher * 7, region * 7)
    assert scaled.tolist() == pytest.approx([0.005])
    assert box_distance(*[torch.zeros(0, 4)] * 3).shape == (0,)
    # A region without a size is taken for one of a pixel.
    nothing = torch.zeros(1, 4)
    assert box_distance(nothing + 2, nothing, nothing).tolist() == [4.0]


def test_the_teachers_boxes_and_certainty_get_no_gradient():
    student, teacher, weights = (torch.ones(1, n, requires_grad=True) for n in (4, 4, 1))
    distance = box_distance(student, teacher * 2, torch.zeros(1, 4))
    mean_over_regions(distance, weights[:, 0]).backward()
    assert student.grad.abs().sum() > 0
    assert teacher.grad is None
    assert weights.grad is None


def test_foreground():
    # One minus the background, which is last; or the best of the sigmoids.
    assert foreground(SOFT, softmax=True).tolist() == pytest.approx([0.75, 0.4])
    assert foreground(YES_NO, softmax=False).tolist() == pytest.approx([0.5])


def test_mean_over_regions():
    distances = torch.tensor([1.0, 3.0], requires_grad=True)
    mean = mean_over_regions(distances, torch.tensor([1.0, 3.0]))
    assert mean.item() == pytest.approx(2.5)
    mean.backward()
    assert distances.grad.tolist() == pytest.approx([0.25, 0.75])


def test_mean_over_no_regions_is_zero_with_a_gradient():
    distances = torch.zeros(0, requires_grad=True)
    mean = mean_over_regions(distances, torch.zeros(0))
    assert mean.item() == 0
    assert mean.requires_grad
