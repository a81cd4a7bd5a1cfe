"""Selectors: which of the teacher's boxes the student learns from."""

import logging
import math
from abc import ABCMeta, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from mmdet.registry import TASK_UTILS
from mmengine.logging import print_log
from mmengine.structures import InstanceData
from torch import Tensor

from ssod.models.box_weights import check_weighable
from ssod.models.semi_supervised_detector import SemiSupervisedDetector
from ssod.schedules import Schedule, build_schedule, values_of
from ssod.strict import check_ranges, strict_settings


class Selector(metaclass=ABCMeta):
    """Keeps some of one image's predictions. Registered in mmdet's ``TASK_UTILS``.

    A selector that remembers anything overrides :meth:`state_dict` and :meth:`load_state_dict`; one
    that does not suit every model or data set overrides :meth:`check`.
    """

    @abstractmethod
    def __call__(self, predictions: InstanceData, step: int) -> InstanceData:
        """Select.

        Args:
            predictions: One image's boxes with ``bboxes`` (N, 4), ``scores`` (N,) and ``labels``
                (N,).
            step: Iterations since the burn-in.

        Returns:
            The selected ones, in the same order.
        """

    def check(self, model: SemiSupervisedDetector, num_classes: int) -> None:  # noqa: B027
        """Refuse, before training, what does not suit; by default everything suits.

        Args:
            model: The model.
            num_classes: Number of classes of the training data.

        Raises:
            ValueError: If something does not suit; the message names the remedy.
        """

    def state_dict(self) -> Any:
        """What a checkpoint needs of the selector; ``None`` if it remembers nothing."""
        return None

    def load_state_dict(self, state: Any) -> None:  # noqa: B027
        """Go on from what :meth:`state_dict` gave."""


def build_selector(settings: Mapping[str, Any]) -> Selector:
    """Build a selector from its config.

    Raises:
        ValueError: If the config is of something else.
    """
    selector = TASK_UTILS.build(dict(settings))
    if not isinstance(selector, Selector):
        kind = type(selector).__name__
        raise ValueError(
            f'selector: {kind} is none; derive the class from ssod.pseudo_labels.Selector'
        )
    return selector


def selector_state(selector: Selector) -> Any:
    """A selector's kind and state, for a checkpoint; ``None`` if it remembers nothing."""
    state = selector.state_dict()
    return None if state is None else {'kind': type(selector).__name__, 'remembers': state}


def restore_selector(selector: Selector, state: Any) -> None:
    """Restore a selector from :func:`selector_state`; warn if that was of another kind."""
    if state is None:
        return
    kind = type(selector).__name__
    if state['kind'] == kind:
        selector.load_state_dict(state['remembers'])
    else:
        told = f'the selector was {state["kind"]} and is now {kind}, which starts without its state'
        print_log(told, 'current', logging.WARNING)


def chosen(predictions: InstanceData, mask: Tensor) -> InstanceData:
    """Select predictions with one wait for a GPU, instead of one for each of their fields.

    Args:
        predictions: N predictions of an image.
        mask: Which of them to keep, (N,).
    """
    return predictions[mask.nonzero()[:, 0]]


def _threshold(name: str, setting: float | Mapping[str, Any]) -> Schedule:
    """A threshold that is in [0, 1] at all steps."""
    for value in values_of(setting):
        if not 0 <= value <= 1:
            raise ValueError(f'{name} is {value}, but must be in [0, 1]')
    return build_schedule(setting)


@TASK_UTILS.register_module()
@strict_settings
class ScoreSelector(Selector):
    """Boxes whose score reaches a threshold (Unbiased Teacher, Liu et al. 2021, section 3.2).

    Args:
        threshold: Least score, in [0, 1], or a schedule over the steps. It depends on the kind of
            score: 0.7 to 0.9 suits the softmax of region heads, 0.3 to 0.5 the lower sigmoid scores
            of dense heads.

    Raises:
        ValueError: If the threshold is outside [0, 1] at some step.
    """

    def __init__(self, threshold: float | Mapping[str, Any]) -> None:
        self.threshold = _threshold('ScoreSelector: threshold', threshold)

    def __call__(self, predictions: InstanceData, step: int) -> InstanceData:
        """Keep the boxes that reach the threshold of this step; see :class:`Selector`."""
        return chosen(predictions, predictions.scores >= self.threshold(step))


@TASK_UTILS.register_module()
@strict_settings
class ClassScoreSelector(Selector):
    """Boxes whose score reaches the threshold of their class.

    Args:
        thresholds: Least score of each class, in [0, 1], in the order of the data set's classes;
            each a number or a schedule over the steps. For typical values see
            :class:`ScoreSelector`.

    Raises:
        ValueError: If a threshold is outside [0, 1] at some step; before training, if there is not
            one for each class.
    """

    def __init__(self, thresholds: Sequence[float | Mapping[str, Any]]) -> None:
        self.thresholds = [
            _threshold(f'ClassScoreSelector: thresholds[{number}]', threshold)
            for number, threshold in enumerate(thresholds)
        ]

    def check(self, model: SemiSupervisedDetector, num_classes: int) -> None:
        """See :class:`Selector`."""
        count, wanted = len(self.thresholds), f'{num_classes}, one for each class in the data'
        check_ranges(
            'ClassScoreSelector', ('number of thresholds', count, count == num_classes, wanted)
        )

    def __call__(self, predictions: InstanceData, step: int) -> InstanceData:
        """Keep the boxes that reach the threshold of their class; see :class:`Selector`."""
        scores: Tensor = predictions.scores
        thresholds = scores.new_tensor([threshold(step) for threshold in self.thresholds])
        return chosen(predictions, scores >= thresholds[predictions.labels])


@TASK_UTILS.register_module()
@strict_settings
class TopSelector(Selector):
    """The best boxes of each image, whatever their scores.

    It compares scores only within an image, so it suits every kind of score.

    Args:
        count: Most boxes to keep, at least 1; no limit if ``None``.
        share: Share of the boxes to keep, in (0, 1], rounded up.

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
class UncertaintySelector(Selector):
    """Boxes with certain coordinates (Soft Teacher, Xu et al. 2021, section 3.3).

    The uncertainty is measured by the model's ``box_jitter``, see
    :class:`~ssod.models.box_jitter.BoxJitter`; it does not depend on the kind of score.

    Args:
        threshold: Uncertainties must be below this, as a share of the box's sides; the paper has
            0.02.

    Raises:
        ValueError: If the threshold is not above 0; before training, if the model has no
            ``box_jitter``.
    """

    def __init__(self, threshold: float = 0.02) -> None:
        check_ranges('UncertaintySelector', ('threshold', threshold, threshold > 0, 'above 0'))
        self.threshold = threshold

    def check(self, model: SemiSupervisedDetector, num_classes: int) -> None:
        """See :class:`Selector`."""
        if model.box_jitter is None:
            raise ValueError(
                'UncertaintySelector: model.box_jitter is None, but must measure the uncertainty; '
                'set model.box_jitter=dict()'
            )

    def __call__(self, predictions: InstanceData, step: int) -> InstanceData:
        """Keep the certain boxes; see :class:`Selector`."""
        return chosen(predictions, predictions.uncertainties < self.threshold)


@TASK_UTILS.register_module()
@strict_settings
class ScoreWeights(Selector):
    """All boxes, weighted by their scores in the losses: weight = score ** ``power``.

    It keeps all boxes, so in a :class:`SelectorChain` put it after a selector that drops the worst.
    Softmax scores of right boxes are close to 1; sigmoid scores are lower throughout, which a
    ``power`` below 1 compensates. It needs a detector that can weight boxes, see
    :func:`~ssod.models.box_weights.weighted_boxes`.

    Args:
        power: Exponent, above 0.

    Raises:
        ValueError: If ``power`` is not above 0; before training, if the detector or the recipe's
            own loss cannot weight boxes.
    """

    def __init__(self, power: float = 1.0) -> None:
        check_ranges('ScoreWeights', ('power', power, power > 0, 'above 0'))
        self.power = power

    def check(self, model: SemiSupervisedDetector, num_classes: int) -> None:
        """See :class:`Selector`."""
        if not model.weighs_boxes:
            raise ValueError(
                f'ScoreWeights: the pseudo-label loss of {type(model).__name__} cannot weight '
                f'boxes; use a selector without weights, or SemiSupervisedDetector'
            )
        check_weighable(model.student)

    def __call__(self, predictions: InstanceData, step: int) -> InstanceData:
        """Keep all boxes, weighted; see :class:`Selector`."""
        weighted = predictions[:]
        weighted.weights = predictions.scores**self.power
        return weighted


@TASK_UTILS.register_module()
@strict_settings
class SelectorChain(Selector):
    """Several selectors, each applied to the boxes that the one before it kept.

    Args:
        selectors: Their configs.
    """

    def __init__(self, selectors: Sequence[Mapping[str, Any]]) -> None:
        self.selectors = [build_selector(settings) for settings in selectors]

    def __call__(self, predictions: InstanceData, step: int) -> InstanceData:
        """Keep the boxes that all selectors keep; see :class:`Selector`."""
        for selector in self.selectors:
            predictions = selector(predictions, step)
        return predictions

    def check(self, model: SemiSupervisedDetector, num_classes: int) -> None:
        """See :class:`Selector`."""
        for selector in self.selectors:
            selector.check(model, num_classes)

    def state_dict(self) -> list[Any]:
        """The state of each selector."""
        return [selector_state(selector) for selector in self.selectors]

    def load_state_dict(self, states: Sequence[Any]) -> None:
        """Restore each selector; new or changed ones start without state."""
        for selector, state in zip(self.selectors, states, strict=False):
            restore_selector(selector, state)
