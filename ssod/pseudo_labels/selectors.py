"""Which of the teacher's boxes the student may learn from."""

import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from mmdet.registry import TASK_UTILS
from mmengine.logging import print_log
from mmengine.structures import InstanceData
from torch import Tensor

from ssod.models.box_weights import check_weighable
from ssod.schedules import Schedule, build_schedule, values_of
from ssod.strict import check_ranges, strict_settings


class Selector(Protocol):
    """Keeps some of one image's predictions. Registered in mmdet's ``TASK_UTILS``.

    One that remembers anything has ``state_dict`` and ``load_state_dict``, as modules have. One
    that not every model suits has ``check``, which is given the model before the training.
    """

    def __call__(self, predictions: InstanceData, step: int) -> InstanceData:
        """Select.

        Args:
            predictions: One image's boxes with ``bboxes`` (N, 4), ``scores`` (N,) and ``labels``
                (N,).
            step: Iterations since the teacher began.

        Returns:
            The chosen ones, in the same order.
        """


def check_class_count(model: Any, count: int, told: str, remedy: str) -> None:
    """Refuse a selector that is for another number of classes than the model has.

    Args:
        model: The model, see :class:`Selector`.
        count: Number of classes that the selector knows.
        told: The selector, and where it has them from.
        remedy: What to do.

    Raises:
        ValueError: If the model has more or fewer.
    """
    # A region proposal network has one class, whatever there are.
    numbers = [getattr(module, 'num_classes', None) for module in model.student.modules()]
    classes = max((number for number in numbers if number is not None), default=None)
    if classes not in (None, count):
        raise ValueError(f'{told}, but the model has {classes} classes; {remedy}')


def chosen(predictions: InstanceData, mask: Tensor) -> InstanceData:
    """Choose predictions without counting anew for each of their fields, for which a GPU waits.

    Args:
        predictions: N predictions of an image.
        mask: Which of them to keep, (N,).
    """
    return predictions[mask.nonzero()[:, 0]]


def _threshold(name: str, setting: float | Mapping[str, Any]) -> Schedule:
    """A threshold that is in [0, 1] at all steps."""
    for value in values_of(setting):
        if not 0 <= value <= 1:
            raise ValueError(f'{name} is {value}, but scores lie in [0, 1]')
    return build_schedule(setting)


@TASK_UTILS.register_module()
@strict_settings
class ScoreSelector:
    """Boxes whose score reaches a threshold (Unbiased Teacher, Liu et al. 2021, section 3.2).

    Args:
        threshold: Least score, in [0, 1], or a schedule of the step. It belongs to one kind of
            score: 0.7 to 0.9 suits the softmax of region heads; sigmoid scores of dense heads are
            lower, and 0.3 to 0.5 suits them.

    Raises:
        ValueError: If the threshold is outside [0, 1] at some step.
    """

    def __init__(self, threshold: float | Mapping[str, Any]) -> None:
        self.threshold = _threshold('ScoreSelector: threshold', threshold)

    def __call__(self, predictions: InstanceData, step: int) -> InstanceData:
        """Keep what reaches the threshold of this step; see :class:`Selector`."""
        return chosen(predictions, predictions.scores >= self.threshold(step))


@TASK_UTILS.register_module()
@strict_settings
class ClassScoreSelector:
    """Boxes whose score reaches the threshold of their class.

    Args:
        thresholds: Least score of each class, in [0, 1], in the order of the data set's classes;
            each a number or a schedule of the step. For the kinds of score see
            :class:`ScoreSelector`.

    Raises:
        ValueError: If a threshold is outside [0, 1] at some step; before the training, if there is
            not one for each class of the model.
    """

    def __init__(self, thresholds: Sequence[float | Mapping[str, Any]]) -> None:
        self.thresholds = [
            _threshold(f'ClassScoreSelector: thresholds[{number}]', threshold)
            for number, threshold in enumerate(thresholds)
        ]

    def check(self, model: Any) -> None:
        """See :class:`Selector`."""
        count = len(self.thresholds)
        remedy = 'give one for each, in the order of the data set'
        check_class_count(model, count, f'ClassScoreSelector: {count} thresholds', remedy)

    def __call__(self, predictions: InstanceData, step: int) -> InstanceData:
        """Keep what reaches the threshold of its class; see :class:`Selector`."""
        scores: Tensor = predictions.scores
        thresholds = scores.new_tensor([threshold(step) for threshold in self.thresholds])
        return chosen(predictions, scores >= thresholds[predictions.labels])


@TASK_UTILS.register_module()
@strict_settings
class TopSelector:
    """The best boxes of each image, whatever their scores.

    As it compares scores only within an image, it suits every kind of them.

    Args:
        count: The most boxes that are kept, at least 1; not limited if ``None``.
        share: Share of the boxes that is kept, in (0, 1], rounded up.

    Raises:
        ValueError: If a setting is out of its range.
    """

    def __init__(self, count: int | None = None, share: float = 1.0) -> None:
        check_ranges(
            'TopSelector',
            ('count', count, count is None or count >= 1, 'at least 1'),
            ('share', share, 0 < share <= 1, 'in (0, 1]'),
        )
        self.count = count
        self.share = share

    def __call__(self, predictions: InstanceData, step: int) -> InstanceData:
        """Keep the best; see :class:`Selector`."""
        found = len(predictions)
        # 0.07 times 100 is a little more than 7.
        kept = min(math.ceil(round(self.share * found, 6)), self.count or found)
        best = predictions.scores.argsort(descending=True, stable=True)[:kept]
        return predictions[best.sort().values]


@TASK_UTILS.register_module()
@strict_settings
class UncertaintySelector:
    """Boxes whose place is sure (Soft Teacher, Xu et al. 2021, section 3.4).

    How sure, the model's ``box_jitter`` finds out, see
    :class:`~ssod.models.box_jitter.BoxJitter`. It does not depend on the kind of score.

    Args:
        threshold: Uncertainties must be less, as shares of the box's sides; the paper's 0.02.

    Raises:
        ValueError: If the threshold is not above 0; before the training, if the model does not find
            out.
    """

    def __init__(self, threshold: float = 0.02) -> None:
        check_ranges('UncertaintySelector', ('threshold', threshold, threshold > 0, 'above 0'))
        self.threshold = threshold

    def check(self, model: Any) -> None:
        """See :class:`Selector`."""
        if getattr(model, 'box_jitter', None) is None:
            raise ValueError(
                'UncertaintySelector: nobody measures how sure boxes are of their place; set '
                'model.box_jitter=dict()'
            )

    def __call__(self, predictions: InstanceData, step: int) -> InstanceData:
        """Keep what is sure; see :class:`Selector`."""
        return chosen(predictions, predictions.uncertainties < self.threshold)


@TASK_UTILS.register_module()
@strict_settings
class ScoreWeights:
    """All boxes, each with its score as its weight in the losses: weight = score ** ``power``.

    It keeps all that it is given, so let it follow a selector that drops the hopeless ones in a
    :class:`SelectorChain`. Scores of a softmax are close to 1 where they are right; those of
    sigmoids are lower throughout, and a ``power`` below 1 makes up for it. It takes a detector
    that can weigh boxes, see :func:`~ssod.models.box_weights.weighted_boxes`.

    Args:
        power: Exponent, above 0.

    Raises:
        ValueError: If ``power`` is not above 0; before the training, if the detector or the
            recipe's own loss cannot weigh.
    """

    def __init__(self, power: float = 1.0) -> None:
        check_ranges('ScoreWeights', ('power', power, power > 0, 'above 0'))
        self.power = power

    def check(self, model: Any) -> None:
        """See :class:`Selector`."""
        if not model.weighs_boxes:
            raise ValueError(
                f'ScoreWeights: the pseudo-label loss of {type(model).__name__} weighs no boxes; '
                f'use a selector without weights, or SemiSupervisedDetector'
            )
        check_weighable(model.student)

    def __call__(self, predictions: InstanceData, step: int) -> InstanceData:
        """Keep all, weighted; see :class:`Selector`."""
        weighted = predictions[:]
        weighted.weights = predictions.scores**self.power
        return weighted


@TASK_UTILS.register_module()
@strict_settings
class SelectorChain:
    """Several selectors, each choosing from what the one before it kept.

    Args:
        selectors: Their configs.
    """

    def __init__(self, selectors: Sequence[Mapping[str, Any]]) -> None:
        self.selectors: list[Selector] = [TASK_UTILS.build(dict(s)) for s in selectors]

    def __call__(self, predictions: InstanceData, step: int) -> InstanceData:
        """Keep what all keep; see :class:`Selector`."""
        for selector in self.selectors:
            predictions = selector(predictions, step)
        return predictions

    def check(self, model: Any) -> None:
        """See :class:`Selector`."""
        for selector in self.selectors:
            check(selector, model)

    def state_dict(self) -> list[Any]:
        """What each of them remembers."""
        return [state_of(selector) for selector in self.selectors]

    def load_state_dict(self, states: Sequence[Any]) -> None:
        """Let each of them remember; those that came in since, or changed, begin anew."""
        for selector, state in zip(self.selectors, states, strict=False):
            restore(selector, state)


def check(selector: Selector, model: Any) -> None:
    """Refuse a model that does not suit a selector.

    Raises:
        ValueError: Says what would.
    """
    if hasattr(selector, 'check'):
        selector.check(model)


def state_of(selector: Selector) -> Any:
    """What a selector remembers, and its kind; ``None`` if nothing."""
    if not hasattr(selector, 'state_dict'):
        return None
    return {'kind': type(selector).__name__, 'remembers': selector.state_dict()}


def restore(selector: Selector, state: Any) -> None:
    """Let a selector remember what :func:`state_of` gave of one of its kind; say so if not."""
    if state is None or not hasattr(selector, 'load_state_dict'):
        return
    kind = type(selector).__name__
    if state['kind'] == kind:
        selector.load_state_dict(state['remembers'])
    else:
        told = f'the selector was a {state["kind"]} and is a {kind} now, which begins anew'
        print_log(told, 'current', logging.WARNING)
