"""Thresholds at the likeliest score of right boxes, and a limit on the scores that count."""

import torch
from mmdet.registry import TASK_UTILS
from mmengine.structures import InstanceData
from torch import Tensor

from ssod.pseudo_labels.mixture import (
    Mixture,
    MixtureSelector,
    fit_mixtures,
    log_densities,
    right_ones,
)
from ssod.pseudo_labels.selectors import Selector, chosen
from ssod.strict import strict_settings


@TASK_UTILS.register_module()
@strict_settings
class ExpectedCountSelector(Selector):
    """The best boxes of each image: the expected number of right ones, and one more.

    The expected number is the sum of the scores, read as probabilities (sigmoids or a softmax).
    From Consistent-Teacher (Wang et al., CVPR 2023; ``dynamic_ratio=1`` in the released code). Put
    it before the mixture, which the many low scores of a dense detector would otherwise fill.
    """

    def __call__(self, predictions: InstanceData, step: int) -> InstanceData:
        """Keep the best; see :class:`~ssod.pseudo_labels.selectors.Selector`."""
        scores: Tensor = predictions.scores.float()
        rank = scores.argsort(descending=True, stable=True).argsort()
        return chosen(predictions, rank <= (scores.sum() + 0.5).floor())


def fit_loosely(scores: Tensor, valid: Tensor) -> Mixture:
    """The two Gaussians (2, C) of each class's scores (C, Q), fitted as in the released code.

    That is scikit-learn with its default tolerance, from variances of 1. A converged fit gives
    thresholds up to 0.2 higher.
    """
    return fit_mixtures(
        scores,
        valid,
        start_variance=1.0,
        iterations=30,
        tolerance=0.001,
        least_variance=0.0,
        added=1e-6,
    )


@TASK_UTILS.register_module()
@strict_settings
class PeakMixtureSelector(MixtureSelector):
    """Boxes at least as confident as the likeliest right box of their class.

    :class:`~ssod.pseudo_labels.mixture.MixtureSelector` sets the threshold where a box becomes more
    likely right than wrong. Consistent-Teacher (Wang et al., CVPR 2023, section 3.4) sets it at the
    likeliest score above that point (policy ``high``), as this does. The released code's settings
    are ``length=100``, ``default=0.0`` and ``least=4``.
    """

    def find_thresholds(self, scores: Tensor, valid: Tensor) -> Tensor:
        """The likeliest right score of each class; see :class:`MixtureSelector`."""
        mixture = fit_loosely(scores, valid)
        densities = log_densities(scores, mixture)
        right = right_ones(scores, valid, mixture, densities)
        peak = densities.logsumexp(dim=0).masked_fill(~right, -torch.inf).argmax(dim=1)
        likeliest = scores.gather(1, peak[:, None])[:, 0]
        return likeliest.masked_fill(~right.any(dim=1), torch.inf)
