"""Synchronized batch normalization: ``sync_bn_*``.

mmcv gathers the statistics of all ranks between these steps.
"""

import torch
from torch import Tensor

__all__ = [
    'sync_bn_backward_data',
    'sync_bn_backward_param',
    'sync_bn_forward_mean',
    'sync_bn_forward_output',
    'sync_bn_forward_var',
]


def sync_bn_forward_mean(input: Tensor, mean: Tensor) -> None:
    """Average each channel.

    Args:
        input: (N, C, S).
        mean: (C,) float32, written in place.
    """
    mean.copy_(input.float().mean((0, 2)))


def sync_bn_forward_var(input: Tensor, mean: Tensor, var: Tensor) -> None:
    """Average each channel's squared distance from a given mean.

    Args:
        input: (N, C, S).
        mean: (C,) float32.
        var: (C,) float32, written in place.
    """
    var.copy_((input.float() - mean[:, None]).square().mean((0, 2)))


def sync_bn_forward_output(
    input: Tensor,
    mean: Tensor,
    var: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    norm: Tensor,
    std: Tensor,
    output: Tensor,
    eps: float,
    momentum: float | Tensor,
    group_size: int,
) -> None:
    """Normalize, and follow the statistics.

    Source: Ioffe and Szegedy, Batch Normalization (ICML 2015), Alg. 1.

    Args:
        input: (N, C, S).
        mean: (C,) float32.
        var: (C,) float32, biased.
        weight: (C,), or None for 1.
        bias: (C,), or None for 0.
        running_mean: (C,), updated in place, or None.
        running_var: (C,), updated in place with the unbiased variance, or None.
        norm: (N, C, S) float32, written in place: input without mean and scale.
        std: (C,) float32, written in place.
        output: (N, C, S), written in place.
        eps: Added to the variance.
        momentum: Share of the new statistics in the running ones.
        group_size: Number of ranks, for the unbiased variance.
    """
    std.copy_((var + eps).sqrt())
    norm.copy_((input.float() - mean[:, None]) / std[:, None])
    scaled = norm if weight is None else norm * weight[:, None]
    output.copy_(scaled if bias is None else scaled + bias[:, None])
    if running_mean is not None:
        running_mean.mul_(1 - momentum).add_(momentum * mean)
    if running_var is not None:
        count = input.shape[0] * input.shape[2] * group_size
        unbiased = var * (count / (count - 1)) if count > 1 else var
        running_var.mul_(1 - momentum).add_(momentum * unbiased)


def sync_bn_backward_param(
    grad_output: Tensor, norm: Tensor, grad_weight: Tensor, grad_bias: Tensor
) -> None:
    """Carry the gradient back to weight and bias.

    Args:
        grad_output: (N, C, S).
        norm: (N, C, S) float32, as the forward wrote it.
        grad_weight: (C,), written in place.
        grad_bias: (C,), written in place.
    """
    grad = grad_output.float()
    grad_weight.copy_((grad * norm).sum((0, 2)))
    grad_bias.copy_(grad.sum((0, 2)))


def sync_bn_backward_data(
    grad_output: Tensor,
    weight: Tensor,
    grad_weight: Tensor,
    grad_bias: Tensor,
    norm: Tensor,
    std: Tensor,
    grad_input: Tensor,
) -> None:
    """Carry the gradient back to the input.

    Args:
        grad_output: (N, C, S).
        weight: (C,).
        grad_weight: (C,), averaged over the ranks.
        grad_bias: (C,), averaged over the ranks.
        norm: (N, C, S) float32, as the forward wrote it.
        std: (C,) float32, as the forward wrote it.
        grad_input: (N, C, S), written in place.
    """
    shared = torch.addcmul(grad_bias[:, None], norm, grad_weight[:, None])
    count = grad_output.shape[0] * grad_output.shape[2]
    scale = (weight / std)[:, None]
    grad_input.copy_(scale * (grad_output.float() - shared / count))
