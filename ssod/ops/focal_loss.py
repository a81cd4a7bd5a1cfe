"""Focal losses: ``sigmoid_focal_loss_*`` and ``softmax_focal_loss_*``.

Source: Lin et al., Focal Loss for Dense Object Detection (ICCV 2017), Eq. 5. mmcv takes
the sum or the mean and multiplies by the gradient that comes in.
"""

import torch
from torch import Tensor
from torch.nn import functional

from ssod.ops.precision import working_dtype

__all__ = [
    'sigmoid_focal_loss_backward',
    'sigmoid_focal_loss_forward',
    'softmax_focal_loss_backward',
    'softmax_focal_loss_forward',
]


def sigmoid_focal_loss_forward(
    input: Tensor, target: Tensor, weight: Tensor, output: Tensor, gamma: float, alpha: float
) -> None:
    """Focal loss of one logit for each class.

    Args:
        input: (N, C) logits.
        target: (N,) int64 class of each row; C, or any other number, for background.
        weight: (C,) factor of a row by its class, or empty for none. With it every
            target must be a class.
        output: (N, C), written in place.
        gamma: How strongly easy examples count less, >= 0.
        alpha: Factor of positives, 1 - alpha being that of negatives.
    """
    sign, wrong, factor = _sides(input, target, weight, alpha)
    surprise = functional.softplus(-sign * input.to(sign.dtype))
    output.copy_(factor * wrong**gamma * surprise)


def sigmoid_focal_loss_backward(
    input: Tensor,
    target: Tensor,
    weight: Tensor,
    grad_input: Tensor,
    gamma: float,
    alpha: float,
) -> None:
    """Derivative of each loss of :func:`sigmoid_focal_loss_forward` by its logit.

    Args:
        input: As in the forward.
        target: As in the forward.
        weight: As in the forward.
        grad_input: (N, C), written in place.
        gamma: As in the forward.
        alpha: As in the forward.
    """
    sign, wrong, factor = _sides(input, target, weight, alpha)
    surprise = functional.softplus(-sign * input.to(sign.dtype))
    slope = wrong**gamma * (gamma * (1 - wrong) * surprise + wrong)
    grad_input.copy_(-sign * factor * slope)


def softmax_focal_loss_forward(
    input: Tensor, target: Tensor, weight: Tensor, output: Tensor, gamma: float, alpha: float
) -> None:
    """Focal loss of one distribution over the classes.

    Args:
        input: (N, C) probabilities, the softmax of the logits.
        target: (N,) int64 class of each row, negative for rows that do not count.
        weight: (C,) factor of a row by its class, or empty for none.
        output: (N,), written in place.
        gamma: How strongly easy examples count less, >= 0.
        alpha: Factor of the whole.
    """
    right, factor = _right(input, target, weight, alpha)
    output.copy_(-factor * (1 - right) ** gamma * right.log())


def softmax_focal_loss_backward(
    input: Tensor,
    target: Tensor,
    weight: Tensor,
    buff: Tensor,
    grad_input: Tensor,
    gamma: float,
    alpha: float,
) -> None:
    """Derivative of each loss of :func:`softmax_focal_loss_forward` by its logits.

    Args:
        input: As in the forward.
        target: As in the forward.
        weight: As in the forward.
        buff: (N,), written in place: derivative by the target's own logit, divided by
            1 - probability.
        grad_input: (N, C), written in place.
        gamma: As in the forward.
        alpha: As in the forward.
    """
    right, factor = _right(input, target, weight, alpha)
    # (1 - p) ** (gamma - 1) * log p, which tends to 0 for p = 1 where gamma > 0.
    wrong = (1 - right).clamp(min=torch.finfo(right.dtype).tiny)
    slope = factor * (gamma * wrong ** (gamma - 1) * right * right.log() - wrong**gamma)
    buff.copy_(slope)
    classes = torch.arange(input.shape[1], device=input.device)
    own = (target[:, None] == classes).to(right.dtype)
    grad_input.copy_(slope[:, None] * (own - input.to(right.dtype)))


def _sides(
    input: Tensor, target: Tensor, weight: Tensor, alpha: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Sign of the right answer, probability of the wrong one, and factor, (N, C) each."""
    logits = input.to(working_dtype(input))
    classes = torch.arange(input.shape[1], device=input.device)
    positive = target[:, None] == classes
    sign = positive.to(logits.dtype) * 2 - 1
    factor = torch.where(positive, alpha, 1 - alpha).to(logits.dtype)
    if weight.numel():
        factor = factor * weight[target][:, None]
    return sign, (-sign * logits).sigmoid(), factor


def _right(input: Tensor, target: Tensor, weight: Tensor, alpha: float) -> tuple[Tensor, Tensor]:
    """Probability of the right class and the row's factor, (N,) each."""
    probability = input.to(working_dtype(input))
    label = target.clamp(min=0)
    right = probability.gather(1, label[:, None]).squeeze(1)
    factor = torch.where(target >= 0, alpha, 0.0).to(right.dtype)
    if weight.numel():
        factor = factor * weight[label]
    return right.clamp(min=torch.finfo(right.dtype).tiny), factor
