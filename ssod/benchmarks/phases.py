"""Where a step's time goes."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from ssod.benchmarks.stepping import Trainer
from ssod.benchmarks.timing import synchronize
from ssod.replaced import replaced
from ssod.teachers.hook import TeacherHook

PHASES = (
    'data',
    'teacher',
    'selection and projection',
    'student',
    'backward',
    'optimizer',
    'ema',
    'rest',
)
"""Parts of a step, in order. The student is its forward pass and losses, with preprocessing; the
rest is whatever else mmengine's loop and hooks do."""


def phases_of(trainer: Trainer, steps: int) -> dict[str, float]:
    """Mean seconds of each part of a step, waiting for the GPU after each part.

    Args:
        trainer: A semi-supervised training of this package.
        steps: How many steps to take, after a warm-up step.
    """
    trainer.step()
    runner, watch = trainer.runner, _Watch()
    hook = next(hook for hook in runner.hooks if isinstance(hook, TeacherHook))
    wrapper = runner.optim_wrapper
    with (
        watch.timing(hook, 'predict', 'teacher'),
        watch.timing(hook, 'set_pseudo_labels', 'selection and projection'),
        watch.timing(runner.model, '_run_forward', 'student'),
        watch.timing(runner.model.data_preprocessor, 'forward', 'student'),
        watch.timing(wrapper, 'backward', 'backward'),
        watch.timing(wrapper, 'step', 'optimizer'),
        watch.timing(hook, 'update_teacher', 'ema'),
    ):
        for _ in range(steps):
            with watch.counting('whole'):
                with watch.counting('data'):
                    batch = trainer.load()
                runner.train_loop.step(batch)
    whole = watch.seconds.pop('whole')
    seconds = {name: watch.seconds.get(name, 0.0) for name in PHASES}
    seconds['rest'] = whole - sum(seconds.values())
    return {name: value / steps for name, value in seconds.items()}


class _Watch:
    """Adds up seconds by name; a timed call inside another one counts only for the outer one."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._inside = False

    @contextmanager
    def counting(self, name: str) -> Iterator[None]:
        """Count the time inside this context."""
        synchronize()
        begin = time.perf_counter()
        yield
        synchronize()
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - begin

    def timing(self, owner: Any, method: str, name: str) -> AbstractContextManager[None]:
        """Count the time of a method's calls inside this context."""
        original: Callable[..., Any] = getattr(owner, method)

        def timed(*args: Any, **kwargs: Any) -> Any:
            """Call it and count its time."""
            if self._inside:
                return original(*args, **kwargs)
            self._inside = True
            try:
                with self.counting(name):
                    return original(*args, **kwargs)
            finally:
                self._inside = False

        return replaced(owner, method, timed)
