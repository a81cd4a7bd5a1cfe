"""The minimum that a semi-supervised step has to compute."""

import torch
from mmdet.models import BaseDetector
from mmdet.structures import DetDataSample
from torch import Tensor

from ssod.benchmarks.stepping import Trainer
from ssod.data.branches import pop_branch, put_branch
from ssod.teachers.hook import TeacherHook

Batch = tuple[Tensor, list[DetDataSample]]
"""Images (B, 3, H, W) and their samples, as a detector takes them."""


class Floor:
    """The bare teacher's prediction, the bare student's losses, backward, and the optimizer's step.

    It has the same weights, batches, precision and optimizer as a training. Batches are prepared,
    padded and with their pseudo-boxes: no data loading, no selection, no hooks.

    Args:
        trainer: The training whose batches are used.
        batches: How many to take and then use in turn.
    """

    def __init__(self, trainer: Trainer, batches: int = 4) -> None:
        self._wrapper = trainer.runner.optim_wrapper
        self._model = trainer.model
        # Like the loop before each step; the teacher does not train.
        self._model.train()
        self._student: BaseDetector = trainer.model.student
        self._teacher: BaseDetector = trainer.model.teacher
        self._batches = [_ready(trainer) for _ in range(batches)]
        self._next = 0

    def step(self) -> None:
        """One step on the next batch."""
        weak, joint = self._batches[self._next % len(self._batches)]
        self._next += 1
        with self._wrapper.optim_context(self._model), torch.no_grad():
            self._teacher.predict(*weak, rescale=False)
        with self._wrapper.optim_context(self._model):
            losses = self._student.loss(*joint)
        total, _ = self._student.parse_losses(losses)
        # The class's methods: those of the training's own wrapper are guarded.
        kind = type(self._wrapper)
        kind.backward(self._wrapper, total)
        kind.step(self._wrapper)
        self._wrapper.zero_grad()


def _ready(trainer: Trainer) -> tuple[Batch, Batch]:
    """The weak views of a batch, and its labelled images together with its strong views."""
    runner = trainer.runner
    hook = next(hook for hook in runner.hooks if isinstance(hook, TeacherHook))
    data = trainer.load()
    weak = pop_branch(data, 'weak')
    put_branch(data, 'weak', weak)
    hook.before_train_iter(runner, 0, data)
    views = runner.model.data_preprocessor(data, True)
    samples = views['data_samples']
    joint = views['inputs'], [*samples['labeled'], *samples['strong']]
    return runner.model.data_preprocessor.stack(weak), joint
