"""Thresholds from the scores themselves, by a mixture of two Gaussians for each class."""

from collections.abc import Mapping
from typing import Any

import torch
from mmdet.registry import TASK_UTILS
from mmengine.structures import InstanceData
from torch import Tensor

from ssod.models.semi_supervised_detector import SemiSupervisedDetector
from ssod.pseudo_labels.selectors import Selector, chosen
from ssod.strict import check_ranges, strict_settings

ITERATIONS = 10
"""Steps of expectation and maximization in each (one-dimensional) fit."""

LEAST_VARIANCE = 1e-4
"""Keeps components at least 0.01 wide, or one could shrink to a single score."""

Mixture = tuple[Tensor, ...]
"""Means, variances and weights of the two Gaussians of each of C classes, (2, C) each. The small
dimension comes first because reducing over it as the last one takes a CPU 30 times as long."""


def log_densities(scores: Tensor, mixture: Mixture) -> Tensor:
    """Log densities of scores (C, Q) under each weighted Gaussian, up to a constant: (2, C, Q)."""
    means, variances, shares = (part[..., None] for part in mixture)
    away = (scores - means).square() / variances
    return shares.log() - 0.5 * (away + variances.log())


def fit_mixtures(
    scores: Tensor,
    valid: Tensor,
    start_variance: float | None = None,
    iterations: int = ITERATIONS,
    tolerance: float | None = None,
    least_variance: float = LEAST_VARIANCE,
    added: float = 0.0,
) -> Mixture:
    """Fit two Gaussians to the scores of each class, by expectation and maximization.

    The first component starts at the lowest score, the second at the highest.

    Args:
        scores: (C, Q) scores.
        valid: (C, Q), which of them count; a class without any has no meaningful result.
        start_variance: Of both components; that of the class's scores if ``None``.
        iterations: Most steps.
        tolerance: A class takes no further step after one that gains less than this in mean
            log-likelihood; ``None`` takes all steps.
        least_variance: No component becomes narrower.
        added: What each step adds to the components' masses and variances, as in scikit-learn.
    """
    weight = valid.to(scores)
    total = weight.sum(dim=1).clamp(min=1)
    low = scores.masked_fill(~valid, torch.inf).amin(dim=1)
    high = scores.masked_fill(~valid, -torch.inf).amax(dim=1)
    means = torch.stack([low, high])
    if start_variance is None:
        centre = (scores * weight).sum(dim=1) / total
        spread = ((scores - centre[:, None]).square() * weight).sum(dim=1) / total
        variances = spread.clamp(min=least_variance).expand(2, -1)
    else:
        variances = torch.full_like(means, start_variance)
    mixture: Mixture = (means, variances, torch.full_like(means, 0.5))
    likelihood = torch.full_like(total, -torch.inf)
    running = torch.ones_like(total, dtype=torch.bool)
    for _ in range(iterations):
        densities = log_densities(scores, mixture)
        belongs = densities.softmax(dim=0) * weight
        mass = (belongs.sum(dim=2) + added).clamp(min=1e-6)
        means = (belongs * scores).sum(dim=2) / mass
        away = (scores - means[..., None]).square()
        variances = ((belongs * away).sum(dim=2) / mass + added).clamp(min=least_variance)
        moved: Mixture = (means, variances, mass / (total + 2 * added))
        if tolerance is None:
            mixture = moved
            continue
        mixture = tuple(torch.where(running, *pair) for pair in zip(moved, mixture, strict=True))
        before, likelihood = likelihood, (densities.logsumexp(dim=0) * weight).sum(dim=1) / total
        running = running & ((likelihood - before).abs() >= tolerance)
    return mixture


def right_ones(scores: Tensor, valid: Tensor, mixture: Mixture, densities: Tensor) -> Tensor:
    """Which valid scores more likely belong to the upper Gaussian, (C, Q).

    Args:
        scores: (C, Q) scores.
        valid: (C, Q), which of them count.
        mixture: See :func:`fit_mixtures`.
        densities: See :func:`log_densities`.
    """
    # A wide upper component would claim the lowest scores as well.
    above = scores >= mixture[0][0, :, None]
    return valid & above & (densities[1] > densities[0])


def positive_thresholds(scores: Tensor, valid: Tensor) -> Tensor:
    """The lowest score of each class that more likely belongs to its upper Gaussian, (C,).

    Infinite where there is none.
    """
    mixture = fit_mixtures(scores, valid)
    right = right_ones(scores, valid, mixture, log_densities(scores, mixture))
    return scores.masked_fill(~right, torch.inf).amin(dim=1)


@TASK_UTILS.register_module()
@strict_settings
class MixtureSelector(Selector):
    """Boxes that are confident compared with other boxes of their class.

    Each class's latest scores are modelled as a mixture of two Gaussians, of wrong and of right
    boxes; a box is kept if it more likely belongs to the second (Consistent-Teacher, Wang et al.
    2023, section 3.4). Because the thresholds follow the scores, it suits every kind of score, if
    the detector reports low ones too (a low ``score_thr``). The mixtures are fitted once per step,
    to the scores before it, on the scores' own device and without waiting. Each rank has its own
    queues of scores; a checkpoint holds the first rank's.

    Args:
        num_classes: Number of classes.
        length: Number of latest scores kept per class, at least 2.
        default: Threshold of a class with fewer than ``least`` scores so far, in [0, 1].
        least: Fewest scores for a fit, from 2 to ``length``.

    Raises:
        ValueError: If a setting is out of its range; before training, if ``num_classes`` is not the
            data's.
    """

    def __init__(
        self, num_classes: int, length: int = 100, default: float = 0.5, least: int = 20
    ) -> None:
        check_ranges(
            type(self).__name__,
            ('num_classes', num_classes, num_classes >= 1, 'at least 1'),
            ('length', length, length >= 2, 'at least 2'),
            ('default', default, 0 <= default <= 1, 'in [0, 1]'),
            ('least', least, 2 <= least <= length, f'in [2, {length}]'),
        )
        self.default = default
        self.least = least
        self._queues = torch.zeros(num_classes, length)
        self._seen = torch.zeros(num_classes, dtype=torch.long)
        self._thresholds = torch.full((num_classes,), default)
        self._fitted_at = -1

    def check(self, model: SemiSupervisedDetector, num_classes: int) -> None:
        """See :class:`~ssod.pseudo_labels.selectors.Selector`."""
        count, wanted = len(self._queues), f'{num_classes}, as in the data'
        check_ranges(type(self).__name__, ('num_classes', count, count == num_classes, wanted))

    def __call__(self, predictions: InstanceData, step: int) -> InstanceData:
        """Keep the confident ones; see :class:`~ssod.pseudo_labels.selectors.Selector`."""
        scores: Tensor = predictions.scores.float()
        labels: Tensor = predictions.labels
        self._move_to(scores.device)
        if step != self._fitted_at:
            self._fit()
            self._fitted_at = step
        self._remember(scores, labels)
        return chosen(predictions, scores >= self._thresholds[labels])

    def find_thresholds(self, scores: Tensor, valid: Tensor) -> Tensor:
        """The threshold of each class, (C,); infinite where its scores give none.

        Args:
            scores: The latest scores of each class, (C, Q).
            valid: Which of them there are, (C, Q).
        """
        return positive_thresholds(scores, valid)

    def _fit(self) -> None:
        places = torch.arange(self._queues.shape[1], device=self._queues.device)
        found = self.find_thresholds(self._queues, places < self._seen[:, None])
        known = (self._seen >= self.least) & found.isfinite()
        self._thresholds = torch.where(known, found, torch.full_like(found, self.default))

    def _remember(self, scores: Tensor, labels: Tensor) -> None:
        """Put scores into the queues of their classes, replacing the oldest."""
        length = self._queues.shape[1]
        of_class = torch.nn.functional.one_hot(labels, len(self._queues))
        before = of_class.cumsum(dim=0).gather(1, labels[:, None])[:, 0] - 1
        counts = of_class.sum(dim=0)
        places = (self._seen[labels] + before) % length
        # If there are more than a queue holds, only the latest stay; the others go past its end.
        places = torch.where(counts[labels] - before <= length, places, length)
        longer = torch.nn.functional.pad(self._queues, (0, 1))
        longer[labels, places] = scores
        self._queues = longer[:, :length]
        self._seen = self._seen + counts

    def _move_to(self, device: torch.device) -> None:
        if self._queues.device != device:
            self._queues = self._queues.to(device)
            self._seen, self._thresholds = self._seen.to(device), self._thresholds.to(device)

    def state_dict(self) -> dict[str, Any]:
        """The queues, for a checkpoint."""
        return {
            'queues': self._queues.cpu(),
            'seen': self._seen.cpu(),
            'thresholds': self._thresholds.cpu(),
            'fitted_at': self._fitted_at,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on with the queues of a checkpoint.

        Raises:
            ValueError: If they have another number of classes or another length.
        """
        theirs, mine = tuple(state['queues'].shape), tuple(self._queues.shape)
        if theirs != mine:
            raise ValueError(
                f'{type(self).__name__}: (num_classes, length) is {mine}, but {theirs} in the '
                f'checkpoint; resume with the settings that the run began with'
            )
        self._queues, self._seen = state['queues'].float(), state['seen'].long()
        self._thresholds, self._fitted_at = state['thresholds'].float(), state['fitted_at']
