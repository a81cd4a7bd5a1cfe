"""The arithmetic of an exponential-moving-average teacher; a hook decides when to apply it."""

import torch
from torch import Tensor, nn


class EMA:
    """teacher ← α · teacher + (1 − α) · student, over parameters and buffers.

    Buffers are averaged too: a batch norm's running mean and variance belong to the weights they
    were measured with, and without them a teacher predicts with stale statistics. Integer tensors
    (batch norm's counter) are copied.

    Mean Teacher (Tarvainen & Valpola 2017), equation 2 of section 2.

    Args:
        teacher: The module that is changed.
        student: The module that it follows; both have the same tensors under the same names.

    Raises:
        ValueError: If a tensor exists in only one of the two, or their shapes differ.
    """

    def __init__(self, teacher: nn.Module, student: nn.Module) -> None:
        pairs = _paired_tensors(teacher, student)
        averaged = [(t, s) for t, s in pairs if t.is_floating_point()]
        self._teacher = [t for t, _ in averaged]
        self._student = [s for _, s in averaged]
        self._copied = [(t, s) for t, s in pairs if not t.is_floating_point()]

    @torch.no_grad()
    def update(self, decay: float) -> None:
        """Move the teacher one step towards the student.

        Args:
            decay: α, the share of itself that the teacher keeps, in [0, 1]; 0 copies the student.
        """
        torch._foreach_lerp_(self._teacher, self._student, 1 - decay)
        for teacher, student in self._copied:
            teacher.copy_(student)


def _paired_tensors(teacher: nn.Module, student: nn.Module) -> list[tuple[Tensor, Tensor]]:
    """Parameters and buffers of both, paired by name (shared tensors once)."""
    teachers = {**dict(teacher.named_parameters()), **dict(teacher.named_buffers())}
    students = {**dict(student.named_parameters()), **dict(student.named_buffers())}
    for name in teachers.keys() ^ students.keys():
        owner = 'teacher' if name in teachers else 'student'
        raise ValueError(
            f'teacher and student differ: only the {owner} has {name!r}; build both from one config'
        )
    for name, tensor in teachers.items():
        if tensor.shape != students[name].shape:
            raise ValueError(
                f'teacher and student differ: {name!r} has shape {tuple(tensor.shape)} in the '
                f'teacher and {tuple(students[name].shape)} in the student'
            )
    return [(tensor.data, students[name].data) for name, tensor in teachers.items()]
