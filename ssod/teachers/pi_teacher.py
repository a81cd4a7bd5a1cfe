"""The Π-model."""

from mmdet.registry import HOOKS

from ssod.strict import strict_settings
from ssod.teachers.hook import TeacherHook


@HOOKS.register_module()
@strict_settings
class PiTeacherHook(TeacherHook):
    """The teacher is the student itself, looking at the weak view (Laine & Aila 2017, section 2.1).

    It is a copy of the student's latest weights in eval mode, so dropout and batch norms add no
    noise. This is a moving average with decay 0, which ``EMATeacherHook`` refuses.

    Args:
        selector: Config of the selector of pseudo-boxes.
        burn_in: Number of supervised iterations at the start of the run.
        min_size: Least width and height of a pseudo-box, in pixels of the strong view.
    """

    def decay_now(self) -> float:
        """Nothing is kept; see :class:`~ssod.teachers.hook.TeacherHook`."""
        return 0.0
