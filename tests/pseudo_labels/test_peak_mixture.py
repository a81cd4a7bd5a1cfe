"""Thresholds at the likeliest right score, against scikit-learn."""

import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData
from sklearn.mixture import GaussianMixture

from ssod.pseudo_labels import ExpectedCountSelector, PeakMixtureSelector
from ssod.pseudo_labels.peak_mixture import fit_loosely


def found(scores, labels=None):
    return InstanceData(
        bboxes=torch.zeros(len(scores), 4),
        scores=torch.tensor(scores, dtype=torch.float32),
        labels=torch.tensor(labels or [0] * len(scores)).long(),
    )


@pytest.mark.parametrize(
    ('scores', 'kept'),
    [
        ([], []),
        # One more than the scores let expect: an image has one at least.
        ([0.1], [0.1]),
        ([0.1, 0.2, 0.1], [0.2]),
        # 0.9 + 0.8 + 0.3 + 0.1 = 2.1, rounded 2, and one; in the order in which they came.
        ([0.3, 0.9, 0.1, 0.8], [0.3, 0.9, 0.8]),
        # 1.6 is rounded 2.
        ([0.5, 0.6, 0.4, 0.1], [0.5, 0.6, 0.4]),
        ([1.0, 1.0], [1.0, 1.0]),
    ],
)
def test_as_many_boxes_as_expected(scores, kept):
    assert ExpectedCountSelector()(found(scores), 0).scores.tolist() == pytest.approx(kept)


def released_threshold(scores):
    """The released code's threshold of one class, by scikit-learn (policy ``high``)."""
    scores = np.asarray(scores)[:, None]
    mixture = GaussianMixture(
        2,
        weights_init=[0.5, 0.5],
        means_init=[[scores.min()], [scores.max()]],
        precisions_init=[[[1.0]], [[1.0]]],
    ).fit(scores)
    heights = mixture.score_samples(scores)
    heights[mixture.predict(scores) == 0] = -np.inf
    return scores[heights.argmax(), 0], mixture


@pytest.mark.parametrize('seed', range(4))
@pytest.mark.parametrize('share', [0.1, 0.4, 0.7])
def test_equal_to_the_released_threshold(share, seed):
    # Scores as a detector has them, of 30 to 100 boxes; each class with its own kind.
    rng = np.random.default_rng(seed)
    selector = PeakMixtureSelector(3, length=100, default=0.0, least=4)
    expected = []
    for label, (wrong, right) in enumerate((((2, 12), (6, 5)), ((3, 8), (8, 3)), ((1, 9), (9, 9)))):
        count = int(rng.integers(30, 101))
        upper = int(count * share)
        scores = np.concatenate([rng.beta(*wrong, count - upper), rng.beta(*right, upper)])
        scores = rng.permutation(scores).clip(0.05, 1).astype(np.float32)
        selector(found(scores.tolist(), [label] * count), 0)
        expected.append(released_threshold(scores)[0])
    selector(found([]), 1)
    assert selector.state_dict()['thresholds'].tolist() == pytest.approx(expected, abs=1e-6)


def test_the_fit_is_scikit_learns():
    # It stops as early, after 3 steps, where a converged one would have other means.
    rng = np.random.default_rng(0)
    scores = np.concatenate([rng.beta(3, 8, 40), rng.beta(8, 3, 60)]).astype(np.float32)
    mixture = released_threshold(scores)[1]
    assert mixture.n_iter_ < 5
    # The same scores among places that hold none yet.
    padded = torch.zeros(2, 130)
    padded[:, :100] = torch.from_numpy(scores)
    means, variances, shares = fit_loosely(padded, torch.arange(130).expand(2, -1) < 100)
    for row in (0, 1):
        assert means[:, row].tolist() == pytest.approx(mixture.means_.flatten(), abs=1e-4)
        assert variances[:, row].tolist() == pytest.approx(mixture.covariances_.flatten(), abs=1e-4)
        assert shares[:, row].tolist() == pytest.approx(mixture.weights_, abs=1e-4)


@pytest.mark.parametrize(
    ('scores', 'threshold'),
    [
        # All alike, and none at all: no mixture, so all boxes are kept as in the released code.
        ([0.6] * 10, 0.0),
        ([], 0.0),
        # A wide upper heap does not claim the lowest score, likelier though it is than the others.
        ([0.05, 0.1, *[0.28, 0.29, 0.3, 0.3, 0.31, 0.32] * 5, 0.5, 1.0], 0.5),
        # Two values: the upper one.
        ([0.1, 0.1, 0.1, 0.6, 0.6], 0.6),
        # Fewer than ``least``.
        ([0.1, 0.1, 0.6], 0.0),
    ],
)
def test_thresholds_of_few_scores(scores, threshold):
    selector = PeakMixtureSelector(2, length=100, default=0.0, least=4)
    selector(found(scores), 0)
    selector(found([]), 1)
    assert selector.state_dict()['thresholds'].tolist() == pytest.approx([threshold, 0.0])


def test_before_enough_was_seen_all_boxes_are_kept():
    selector = PeakMixtureSelector(1, length=100, default=0.0, least=4)
    for step in range(2):
        assert len(selector(found([0.1, 0.6]), step)) == 2
    # Four scores, two at 0.1 and two at 0.6.
    assert selector(found([0.1, 0.6]), 2).scores.tolist() == pytest.approx([0.6])
