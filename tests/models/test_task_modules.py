"""What mmdet's heads hold besides modules and tensors."""

from torch import nn

from ssod.models.task_modules import task_modules_of


def test_parts_alone_and_in_lists_are_found():
    inner, outer = nn.Identity(), nn.Module()
    one, first, second = object(), object(), object()
    inner.assigner, outer.samplers, outer.head = one, [first, second], inner
    found = list(task_modules_of(outer))
    assert {one, first, second} <= {part for part in found if type(part) is object}
