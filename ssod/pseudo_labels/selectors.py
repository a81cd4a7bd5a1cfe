"""Which of the teacher's boxes the student may learn from."""

from collections.abc import Mapping
from typing import Any, Protocol

from mmdet.registry import TASK_UTILS
from mmengine.structures import InstanceData

from ssod.schedules import build_schedule
from ssod.strict import strict_settings


class Selector(Protocol):
    """Keeps some of one image's predictions. Registered in mmdet's ``TASK_UTILS``."""

    def __call__(self, predictions: InstanceData, step: int) -> InstanceData:
        """Select.

        Args:
            predictions: One image's boxes with ``bboxes`` (N, 4), ``scores`` (N,) and ``labels``
                (N,).
            step: Iterations since the teacher began.

        Returns:
            The chosen ones, in the same order.
        """


@TASK_UTILS.register_module()
@strict_settings
class ScoreSelector:
    """Boxes whose score reaches a threshold (Unbiased Teacher, Liu et al. 2021, section 3.2).

    Args:
        threshold: Least score, in [0, 1], or a schedule of the step. It belongs to one kind of
            score: 0.7 to 0.9 suits the softmax of region heads; sigmoid scores of dense heads are
            lower, and 0.3 to 0.5 suits them.

    Raises:
        ValueError: If the threshold is outside [0, 1] at the first step.
    """

    def __init__(self, threshold: float | Mapping[str, Any]) -> None:
        self.threshold = build_schedule(threshold)
        if not 0 <= self.threshold(0) <= 1:
            raise ValueError(
                f'ScoreSelector: threshold is {self.threshold(0)}, but scores lie in [0, 1]'
            )

    def __call__(self, predictions: InstanceData, step: int) -> InstanceData:
        """Keep what reaches the threshold of this step; see :class:`Selector`."""
        return predictions[predictions.scores >= self.threshold(step)]
