"""Optimizer steps that would ruin the weights, and are left out."""

import math
from functools import partial, update_wrapper
from typing import Any, NamedTuple

import torch
from mmengine.dist import all_reduce, get_world_size
from mmengine.optim import OptimWrapper
from torch import Tensor, nn
from torch.nn.utils import get_total_norm

PATIENCE = 20
"""Steps in a row that a gradient scaler may find too large; it halves 2 to the power of 16."""


class Step(NamedTuple):
    """What became of an optimizer step.

    Attributes:
        skipped: Whether it was left out.
        norm: Norm of its gradient before any clipping; not finite where a gradient scaler is to
            skip the step.
    """

    skipped: bool
    norm: float


class StepGuard:
    """Leaves out an optimizer step if a loss or the gradient that it comes from is not finite.

    All ranks leave out the same steps. The gradient is dropped, and the student's buffers are put
    back to what they were, for a batch norm has measured the bad batch. Where gradients accumulate,
    a step is left out as a whole. What a gradient scaler finds (infinite gradients of finite
    losses, of which it has some by design) stays its own affair, unless it finds them in more than
    :data:`PATIENCE` steps in a row, which no scale will mend.

    One wait for the GPU and one pass over the gradient in each optimizer step are the price.

    It takes the place of the wrapper's ``backward`` and ``step``, so that every kind of wrapper,
    model and distributed wrapper is guarded alike.

    Args:
        optim_wrapper: Whose steps are guarded.
        student: Its buffers are kept.
    """

    def __init__(self, optim_wrapper: OptimWrapper, student: nn.Module) -> None:
        self._optimizer = optim_wrapper.optimizer
        scaler = getattr(optim_wrapper, 'loss_scaler', None)
        self._scaler = scaler if scaler is not None and scaler.is_enabled() else None
        self._backward, self._step = optim_wrapper.backward, optim_wrapper.step
        optim_wrapper.backward = self._guarded_backward
        # With the marks of the old one, by which mmengine's schedules know that they count steps.
        optim_wrapper.step = update_wrapper(partial(self._guarded_step), self._step)
        # Two lists, for a kernel copies many tensors at once if they are of one type.
        buffers = list(student.buffers())
        numbers = [b for b in buffers if b.is_floating_point()]
        counters = [b for b in buffers if not b.is_floating_point()]
        self._kept = [(b, [x.clone() for x in b]) for b in (numbers, counters) if b]
        self._losses: list[Tensor] = []
        self._last: Step | None = None
        self._in_a_row = 0

    def remember(self) -> None:
        """Keep the student's buffers; to be called before each forward pass."""
        if self._losses:
            return  # Gradients accumulate: the step began with an earlier batch.
        for buffers, kept in self._kept:
            torch._foreach_copy_(kept, buffers)

    def pop_step(self) -> Step | None:
        """The step that was due since this was last asked, if any."""
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
