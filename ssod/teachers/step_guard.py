"""Skips optimizer steps that would ruin the weights."""

import math
from functools import partial, update_wrapper
from typing import Any, NamedTuple

import torch
from mmengine.dist import all_reduce, get_world_size
from mmengine.optim import OptimWrapper
from torch import Tensor, nn
from torch.nn.utils import get_total_norm

PATIENCE = 20
"""Steps in a row that a gradient scaler may skip; it starts from 2¹⁶ and halves each time."""


class Step(NamedTuple):
    """What became of an optimizer step.

    Attributes:
        skipped: Whether it was skipped.
        norm: Norm of its gradient before any clipping; not finite where a gradient scaler will
            skip the step.
    """

    skipped: bool
    norm: float


class StepGuard:
    """Skips an optimizer step if one of its losses or its gradient is not finite.

    All ranks skip the same steps. The gradient is dropped, and the student's buffers are restored,
    because batch norms have measured the bad batch. Where gradients accumulate, a step is skipped
    as a whole. Infinite gradients of finite losses are left to a gradient scaler, if there is one,
    since it causes some by design; unless it finds them in more than :data:`PATIENCE` steps in a
    row, which no scale will fix.

    Each optimizer step costs one wait for the GPU and one pass over the gradient.

    It replaces the wrapper's ``backward`` and ``step``, so every kind of optimizer wrapper, model
    and distributed wrapper is guarded alike.

    Args:
        optim_wrapper: The wrapper whose steps are guarded.
        student: The module whose buffers are restored.
    """

    def __init__(self, optim_wrapper: OptimWrapper, student: nn.Module) -> None:
        self._optimizer = optim_wrapper.optimizer
        scaler = getattr(optim_wrapper, 'loss_scaler', None)
        self._scaler = scaler if scaler is not None and scaler.is_enabled() else None
        self._backward, self._step = optim_wrapper.backward, optim_wrapper.step
        optim_wrapper.backward = self._guarded_backward
        # Keeps the attributes by which mmengine's schedules count the steps.
        optim_wrapper.step = update_wrapper(partial(self._guarded_step), self._step)
        # Two lists: one kernel copies many tensors at once if they are of one type.
        buffers = list(student.buffers())
        numbers = [b for b in buffers if b.is_floating_point()]
        counters = [b for b in buffers if not b.is_floating_point()]
        self._kept = [(b, [x.clone() for x in b]) for b in (numbers, counters) if b]
        self._losses: list[Tensor] = []
        self._last: Step | None = None
        self._in_a_row = 0

    def remember(self) -> None:
        """Save the student's buffers; call this before each forward pass."""
        if self._losses:
            return  # Gradients accumulate: the step began with an earlier batch.
        for buffers, kept in self._kept:
            torch._foreach_copy_(kept, buffers)

    def pop_step(self) -> Step | None:
        """The step that was made or skipped since the last call, if any."""
        last, self._last = self._last, None
        return last

    def _guarded_backward(self, loss: Tensor, **kwargs: Any) -> None:
        self._losses.append(loss.detach())
        self._backward(loss, **kwargs)

    @torch.no_grad()
    def _check(self) -> Step:
        losses, self._losses = torch.stack(self._losses), []
        parameters = [p for group in self._optimizer.param_groups for p in group['params']]
        norm = get_total_norm([p.grad for p in parameters if p.grad is not None]).to(losses)
        bad = ~losses.isfinite().all()
        if self._scaler is None:
            bad = bad | ~norm.isfinite()
        bad = bad.to(losses)
        if get_world_size() > 1:
            all_reduce(bad, 'max')
        skipped, length = torch.stack([bad, norm]).tolist()
        if self._scaler is None:
            return Step(bool(skipped), length)
        self._in_a_row = 0 if math.isfinite(length) else self._in_a_row + 1
        hopeless = self._in_a_row > PATIENCE
        return Step(bool(skipped) or hopeless, length / self._scaler.get_scale())

    def _guarded_step(self, **kwargs: Any) -> None:
        self._last = self._check()
        if not self._last.skipped:
            self._step(**kwargs)
            return
        # The wrapper drops the gradient itself, as after every step.
        for buffers, kept in self._kept:
            torch._foreach_copy_(buffers, kept)
