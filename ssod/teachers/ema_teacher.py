"""The mean teacher."""

from collections.abc import Mapping
from typing import Any

from mmdet.registry import HOOKS
from mmengine.runner import Runner

from ssod.schedules import build_schedule, values_of
from ssod.strict import strict_settings
from ssod.teachers.hook import TeacherHook


@HOOKS.register_module()
@strict_settings
class EMATeacherHook(TeacherHook):
    """The teacher is the exponential moving average of the student (Tarvainen & Valpola 2017).

    Args:
        selector: Config of the selector of pseudo-boxes.
        decay: α, the share of itself that the teacher keeps at each update, or a schedule over the
            updates since the burn-in. The paper's values: 0.99 while ramping up, 0.999 after.
        burn_in: Number of supervised iterations at the start of the run.
        min_size: Least width and height in pixels of a pseudo-box in the strong view.

    Raises:
        ValueError: If a decay is not in [0, 1], or the final one not in [0.5, 1].
    """

    def __init__(
        self,
        selector: Mapping[str, Any],
        decay: float | Mapping[str, Any] = 0.999,
        burn_in: int = 0,
        min_size: float = 1.0,
    ) -> None:
        super().__init__(selector, burn_in, min_size)
        self.decay = build_schedule(decay)
        *before, final = values_of(decay)
        if not 0.5 <= final <= 1:
            raise ValueError(
                f'EMATeacherHook: decay is {final:g}, but must be in [0.5, 1]: it is the share '
                f"that the teacher keeps (such as 0.999), 1 minus mmdet's momentum (0.001)"
            )
        for value in before:
            if not 0 <= value <= 1:
                raise ValueError(
                    f'EMATeacherHook: decay is {value:g} at first, but must be in [0, 1]'
                )

    def decay_now(self) -> float:
        """The schedule's value; see :class:`~ssod.teachers.hook.TeacherHook`."""
        return self.decay(self.updates)

    def update_teacher(self, runner: Runner, decay: float) -> None:
        """Average, and log the decay, because it may change over training."""
        super().update_teacher(runner, decay)
        runner.message_hub.update_scalar('train/decay', decay)
