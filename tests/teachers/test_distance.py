"""Distances of layers whose tensors are of length 5."""

import pytest
import torch
from torch import nn

from ssod.teachers.distance import relative_distances


def test_nothing_to_compare():
    assert relative_distances(nn.ReLU(), nn.ReLU()) == (0, 0)


def test_weights_and_statistics():
    teacher, student = nn.BatchNorm1d(2), nn.BatchNorm1d(2)
    for module in (teacher, student):
        for tensor in (module.weight.data, module.bias.data, module.running_mean):
            tensor.copy_(torch.tensor([3.0, 4.0]))
    assert relative_distances(teacher, student) == (0, 0)
    # The bias stays equal and is left out, as one that nobody trains; counters are no statistics.
    teacher.weight.data[0] += 1
    teacher.num_batches_tracked += 100
    assert relative_distances(teacher, student) == pytest.approx((0.2, 0))
    # The statistics: 5/5 for the mean and 2/2 for the variance of twice ones.
    teacher.running_mean += torch.tensor([3.0, 4.0])
    teacher.running_var += 1
    assert relative_distances(teacher, student) == pytest.approx((0.2, 1.0))


def test_a_tensor_of_zeros_is_left_out():
    teacher, student = nn.Linear(2, 1), nn.Linear(2, 1)
    student.weight.data = torch.tensor([[3.0, 4.0]])
    teacher.weight.data = torch.tensor([[3.0, 9.0]])
    student.bias.data.zero_()
    teacher.bias.data.fill_(1.0)
    assert relative_distances(teacher, student) == (1, 0)


def test_the_distance_of_many_tensors_is_their_median():
    teacher, student = (nn.ModuleList(nn.Linear(1, 1, bias=False) for _ in range(3)) for _ in '12')
    for i, factor in enumerate((1.1, 1.5, 9.0)):
        student[i].weight.data.fill_(2.0)
        teacher[i].weight.data.fill_(2.0 * factor)
    assert relative_distances(teacher, student) == pytest.approx((0.5, 0))
