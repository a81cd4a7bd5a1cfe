"""The moving average, on tensors small enough to average by hand."""

import pytest
import torch
from torch import nn

from ssod.teachers.ema import EMA


def linear(weight, bias):
    layer = nn.Linear(2, 2)
    layer.weight.data = torch.tensor(weight)
    layer.bias.data = torch.tensor(bias)
    return layer


def test_update_is_the_weighted_mean():
    teacher = linear([[1.0, 2.0], [3.0, 4.0]], [0.0, 10.0])
    student = linear([[2.0, 4.0], [3.0, 0.0]], [1.0, 0.0])
    EMA(teacher, student).update(0.75)
    assert teacher.weight.tolist() == [[1.25, 2.5], [3.0, 3.0]]
    assert teacher.bias.tolist() == [0.25, 7.5]
    # The student stays as it was.
    assert student.weight.tolist() == [[2.0, 4.0], [3.0, 0.0]]


def test_two_updates_follow_a_moving_student():
    teacher, student = linear([[0.0, 0.0]] * 2, [0.0, 0.0]), linear([[4.0, 8.0]] * 2, [4.0, 4.0])
    ema = EMA(teacher, student)
    ema.update(0.5)
    with torch.no_grad():
        student.weight.zero_()
    ema.update(0.5)
    # (0 -> 2 -> 1): the change of the student in place is seen.
    assert teacher.weight.tolist() == [[1.0, 2.0]] * 2
    assert teacher.bias.tolist() == [3.0, 3.0]


@pytest.mark.parametrize(('decay', 'expected'), [(0.0, 7.0), (1.0, 3.0)])
def test_the_ends_are_exact(decay, expected):
    # 0 copies the student bit for bit, 1 keeps the teacher.
    teacher, student = linear([[3.0] * 2] * 2, [3.0] * 2), linear([[7.0] * 2] * 2, [7.0] * 2)
    EMA(teacher, student).update(decay)
    assert teacher.bias.tolist() == [expected] * 2


def test_buffers_are_averaged_and_counters_copied():
    # Trap: a teacher without the student's running statistics predicts with stale ones.
    teacher, student = nn.BatchNorm2d(1), nn.BatchNorm2d(1)
    student.running_mean.fill_(8.0)
    student.running_var.fill_(3.0)
    student.num_batches_tracked.fill_(41)
    EMA(teacher, student).update(0.5)
    assert teacher.running_mean.item() == 4.0
    assert teacher.running_var.item() == 2.0
    assert teacher.num_batches_tracked.item() == 41


def test_tensors_are_paired_by_name_not_position():
    # Trap: zip() over two modules whose layers come in another order averages the wrong ones.
    teacher = nn.ModuleDict({'a': linear([[0.0] * 2] * 2, [0.0] * 2)})
    teacher['b'] = linear([[100.0] * 2] * 2, [100.0] * 2)
    student = nn.ModuleDict({'b': linear([[100.0] * 2] * 2, [100.0] * 2)})
    student['a'] = linear([[0.0] * 2] * 2, [0.0] * 2)
    EMA(teacher, student).update(0.5)
    assert teacher['a'].bias.tolist() == [0.0, 0.0]
    assert teacher['b'].bias.tolist() == [100.0, 100.0]


@pytest.mark.parametrize(
    ('teacher', 'student', 'message'),
    [
        (nn.Linear(2, 2), nn.Linear(2, 2, bias=False), "only the teacher has 'bias'"),
        (nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1), 'only the'),
        (nn.Linear(2, 2), nn.Linear(3, 2), r"'weight' has shape \(2, 2\) in the teacher"),
    ],
)
def test_a_mismatch_is_refused(teacher, student, message):
    with pytest.raises(ValueError, match=message):
        EMA(teacher, student)


def test_shared_tensors_are_updated_once():
    def tied():
        module = nn.ModuleDict({'a': linear([[0.0] * 2] * 2, [0.0] * 2)})
        module['b'] = module['a']
        return module

    teacher, student = tied(), tied()
    student['a'].bias.data.fill_(8.0)
    EMA(teacher, student).update(0.5)
    assert teacher['b'].bias.tolist() == [4.0, 4.0]
