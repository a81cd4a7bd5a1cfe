"""Thresholds at the likeliest score of right boxes, and a limit on the scores that count."""

import torch
from mmdet.registry import TASK_UTILS
from mmengine.structures import InstanceData
from torch import Tensor

from ssod.pseudo_labels.mixture import MixtureSelector
from ssod.pseudo_labels.selectors import chosen
from ssod.strict import strict_settings


@TASK_UTILS.register_module()
@strict_settings
class ExpectedCountSelector:
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


def log_densities(scores: Tensor, mixture: tuple[Tensor, ...]) -> Tensor:
    """Log densities of scores (C, Q) under each weighted Gaussian, up to a constant: (C, Q, 2)."""
    means, variances, shares = (part[:, None] for part in mixture)
    return shares.log() - variances.log() / 2 - (scores[..., None] - means) ** 2 / (2 * variances)


def fit_loosely(scores: Tensor, valid: Tensor) -> tuple[Tensor, ...]:
    """Means, variances and weights (C, 2) of two Gaussians for each class's scores (C, Q).

    It starts from variances of 1 and stops when the mean log-likelihood gains less than 0.001, like
    scikit-learn with the released code's settings. A converged fit gives thresholds up to 0.2
    higher.
    """
    filled = torch.stack([scores.masked_fill(~valid, sign * torch.inf) for sign in (1, -1)])
    means = torch.stack([filled[0].amin(dim=1), filled[1].amax(dim=1)], dim=1)
    mixture: tuple[Tensor, ...] = (means, torch.ones_like(means), 0.5 * torch.ones_like(means))
    weight, likelihood = valid[..., None].to(scores), torch.full_like(means[:, :1], -torch.inf)
    running = torch.ones_like(likelihood, dtype=torch.bool)
    for _ in range(30):
        densities = log_densities(scores, mixture)
        total = densities.logsumexp(dim=2, keepdim=True)
        belongs = (densities - total).exp() * weight
        mass = belongs.sum(dim=1) + 1e-6
        means = (belongs * scores[..., None]).sum(dim=1) / mass
        away = (scores[..., None] - means[:, None]) ** 2
        new = (means, (belongs * away).sum(dim=1) / mass + 1e-6, mass / mass.sum(1, keepdim=True))
        mixture = tuple(torch.where(running, n, m) for n, m in zip(new, mixture, strict=True))
        before, likelihood = likelihood, (total * weight).sum(dim=1) / weight.sum(dim=1)
        running = running & ~((likelihood - before).abs() < 0.001)
    return mixture


@TASK_UTILS.register_module()
@strict_settings
class PeakMixtureSelector(MixtureSelector):
    """Boxes at least as confident as the likeliest right box of their class.

    :class:`~ssod.pseudo_labels.mixture.MixtureSelector` sets the threshold where a box becomes more
    likely right than wrong. Consistent-Teacher (Wang et al., CVPR 2023, section 3.4) sets it at the
    likeliest score above that point (policy ``high``), as this does. The released code's settings
    are ``length=100``, ``default=0.0`` and ``least=4``.
    """

    def _fit(self) -> None:
        scores = self._queues
        valid = torch.arange(scores.shape[1], device=scores.device) < self._seen[:, None]
        mixture = fit_loosely(scores, valid)
        densities = log_densities(scores, mixture)
        # A wide upper component would claim the lowest scores as well.
        right = valid & (densities[..., 1] > densities[..., 0]) & (scores >= mixture[0][:, :1])
        peak = densities.logsumexp(dim=2).masked_fill(~right, -torch.inf).argmax(dim=1)
        known = (self._seen >= self.least) & right.any(dim=1)
        found = scores.gather(1, peak[:, None])[:, 0]
        self._thresholds = torch.where(known, found, torch.full_like(found, self.default))
