"""How far a teacher is from its student."""

from collections.abc import Mapping
from statistics import median

import torch
from torch import Tensor, nn


@torch.no_grad()
def relative_distances(teacher: nn.Module, student: nn.Module) -> tuple[float, float]:
    """The distance of the weights, and of the batch norms' running statistics.

    A tensor's relative distance is |teacher − student| / |student|. Tensors that are equal in both
    (frozen ones) or zero in the student do not count.

    Returns:
        The medians over the parameters and over the buffers; 0 where none differs.
    """
    parameters = _distances(dict(teacher.named_parameters()), dict(student.named_parameters()))
    buffers = _distances(dict(teacher.named_buffers()), dict(student.named_buffers()))
    return parameters, buffers


def _distances(teacher: Mapping[str, Tensor], student: Mapping[str, Tensor]) -> float:
    pairs = [(teacher[name], s) for name, s in student.items() if s.is_floating_point()]
    if not pairs:
        return 0.0
    apart = torch.stack([torch.dist(t, s) for t, s in pairs])
    length = torch.stack([s.norm() for _, s in pairs])
    # One wait for the GPU. A tensor of zeros has no length to compare with.
    distances = torch.where(length > 0, apart / length, 0).tolist()
    return median([d for d in distances if d] or [0.0])
