"""Distances between the student's and the teacher's predictions of the same regions.

The gradient flows only into the student. A head with a softmax gives one distribution over the
classes and the background; a head with sigmoids gives one yes-or-no distribution for each class.
"""

import torch
import torch.nn.functional as F
from mmdet.utils import reduce_mean
from torch import Tensor


def class_distance(student: Tensor, teacher: Tensor, kind: str, softmax: bool) -> Tensor:
    """Distance between class distributions, for each region.

    ``'mse'`` is the mean over the classes of the squared difference of probabilities, Mean
    Teacher's own cost (Tarvainen & Valpola 2017, section 3.2); ``'kl'`` is KL(teacher ‖ student),
    summed over the classes where these are sigmoids.

    Args:
        student: (N, K) logits.
        teacher: (N, K) logits, taken as constant.
        kind: ``'mse'`` or ``'kl'``.
        softmax: Whether the K logits form one softmax, or K sigmoids.

    Returns:
        (N,) distances, at least 0; float32.
    """
    student, teacher = student.float(), teacher.detach().float()
    if kind == 'mse':
        activate = (lambda x: x.softmax(dim=1)) if softmax else torch.sigmoid
        return (activate(student) - activate(teacher)).square().mean(dim=1)
    if softmax:
        log_student, log_teacher = F.log_softmax(student, dim=1), F.log_softmax(teacher, dim=1)
        return F.kl_div(log_student, log_teacher, reduction='none', log_target=True).sum(dim=1)
    target = teacher.sigmoid()
    cross = F.binary_cross_entropy_with_logits(student, target, reduction='none')
    entropy = F.binary_cross_entropy_with_logits(teacher, target, reduction='none')
    return (cross - entropy).sum(dim=1)


def box_distance(student: Tensor, teacher: Tensor, regions: Tensor) -> Tensor:
    """Mean squared difference of box coordinates, in units of the region's width and height.

    Args:
        student: (N, 4) boxes, x1, y1, x2, y2 in pixels.
        teacher: (N, 4) boxes, taken as constant.
        regions: (N, 4) regions that both judged.

    Returns:
        (N,) distances, at least 0; float32.
    """
    sizes = (regions[:, 2:] - regions[:, :2]).clamp(min=1.0).repeat(1, 2)
    return ((student.float() - teacher.detach().float()) / sizes).square().mean(dim=1)


def foreground(logits: Tensor, softmax: bool) -> Tensor:
    """Probability (N,) that a region holds an object: 1 − background, or the best class's score."""
    logits = logits.float()
    if softmax:
        return 1 - logits.softmax(dim=1)[:, -1]
    return logits.sigmoid().amax(dim=1)


def mean_over_regions(distances: Tensor, weights: Tensor) -> Tensor:
    """Weighted mean over the regions of all ranks; 0, with a gradient, if there are none.

    Args:
        distances: (N,), N may be 0.
        weights: (N,), at least 0, taken as constant.
    """
    total = reduce_mean(weights.detach().sum()).clamp(min=1e-6)
    return (distances * weights.detach()).sum() / total
