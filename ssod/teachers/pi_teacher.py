"""The Π-model."""

from mmdet.registry import HOOKS

from ssod.models.semi_supervised_detector import SemiSupervisedDetector
from ssod.strict import strict_settings
from ssod.teachers.ema import EMA
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

    def start(self, model: SemiSupervisedDetector) -> None:
        """Pair the teacher's tensors with the student's."""
        self._copy = EMA(model.teacher, model.student)

    def update_teacher(self, model: SemiSupervisedDetector, teaching: bool) -> None:
        """Copy the student."""
        self._copy.update(0.0)
