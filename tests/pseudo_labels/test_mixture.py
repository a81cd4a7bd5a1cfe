"""Thresholds from mixtures of Gaussians, against scores whose mixture is known."""

import copy
import warnings

import numpy as np
import pytest
import torch
from mmengine.runner import Runner
from mmengine.structures import InstanceData
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

from ssod.pseudo_labels import MixtureSelector, PeakMixtureSelector
from ssod.pseudo_labels.mixture import (
    ITERATIONS,
    fit_mixtures,
    log_densities,
    positive_thresholds,
)
from ssod.pseudo_labels.selectors import SelectorChain
from ssod.teachers import TeacherHook


def two_heaps(low, high, count=200, spread=0.05):
    """Scores around two values, one class in each row."""
    generator = torch.Generator().manual_seed(0)
    noise = spread * torch.randn(len(low), count, generator=generator)
    heaps = torch.tensor([low, high]).T.repeat_interleave(count // 2, dim=1)
    return heaps + noise


def everything(scores):
    return torch.ones_like(scores, dtype=torch.bool)


def test_the_mixture_that_was_drawn_is_found():
    scores = two_heaps([0.2, 0.1], [0.8, 0.5])
    means, variances, shares = fit_mixtures(scores, everything(scores))
    torch.testing.assert_close(means, torch.tensor([[0.2, 0.1], [0.8, 0.5]]), atol=0.02, rtol=0)
    torch.testing.assert_close(variances.sqrt(), torch.full((2, 2), 0.05), atol=0.01, rtol=0)
    torch.testing.assert_close(shares, torch.full((2, 2), 0.5), atol=0.02, rtol=0)


def test_the_threshold_lies_between_the_heaps():
    # Half way between equal ones: 0.5 and 0.3; the lowest score above it.
    scores = two_heaps([0.2, 0.1], [0.8, 0.5])
    thresholds = positive_thresholds(scores, everything(scores))
    upper = [scores[0][scores[0] > 0.5].min(), scores[1][scores[1] > 0.3].min()]
    assert thresholds.tolist() == pytest.approx(torch.stack(upper).tolist())


def test_a_wide_upper_heap_claims_no_lowest_score():
    # 0.05 is far from the narrow heap at 0.3, and nearer to the wide one for its width.
    scores = torch.tensor([[0.05, *[0.28, 0.29, 0.3, 0.3, 0.31, 0.32] * 5, *[0.5, 0.7, 0.9] * 4]])
    mixture = fit_mixtures(scores, everything(scores))
    assert log_densities(scores, mixture).softmax(dim=0)[1, 0, 0] > 0.99
    assert positive_thresholds(scores, everything(scores)).tolist() == [0.5]


def test_what_does_not_count_changes_nothing():
    scores = two_heaps([0.2], [0.8])
    longer = torch.cat([scores, torch.full((1, 50), 0.99)], dim=1)
    valid = torch.cat([everything(scores), torch.zeros(1, 50, dtype=torch.bool)], dim=1)
    fitted = zip(fit_mixtures(scores, everything(scores)), fit_mixtures(longer, valid), strict=True)
    for one, other in fitted:
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize(
    'scores',
    # One value alone, one score alone, and none at all: no nan, and nothing below what was seen.
    [torch.full((1, 30), 0.6), torch.full((1, 1), 0.6), torch.zeros(1, 0)],
)
def test_scores_without_a_mixture(scores):
    if scores.numel() == 0:
        scores, valid = torch.zeros(1, 5), torch.zeros(1, 5, dtype=torch.bool)
    else:
        valid = everything(scores)
    threshold = positive_thresholds(scores, valid)
    assert not threshold.isnan().any()
    assert threshold.item() in (pytest.approx(0.6), torch.inf)


def predictions(scores, labels):
    return InstanceData(
        bboxes=torch.zeros(len(scores), 4),
        scores=torch.as_tensor(scores),
        labels=torch.as_tensor(labels).long(),
    )


def nothing():
    return predictions(torch.zeros(0), torch.zeros(0))


def test_before_enough_was_seen_the_default_holds():
    selector = MixtureSelector(2, default=0.6, least=4)
    assert len(selector(nothing(), 0)) == 0
    assert selector(predictions([0.5, 0.7], [0, 1]), 1).scores.tolist() == pytest.approx([0.7])


def test_each_class_has_a_threshold_of_its_own_from_what_was_seen():
    selector = MixtureSelector(3, length=200)
    for row, scores in enumerate(two_heaps([0.2, 0.1], [0.8, 0.5])):
        selector(predictions(scores, [row] * 200), 0)
    found = predictions([0.6, 0.6, 0.4, 0.4, 0.2, 0.6, 0.4], [0, 1, 0, 1, 1, 2, 2])
    # Within a step nothing changes yet: the default of 0.5 for all.
    assert copy.deepcopy(selector)(found, 0).labels.tolist() == [0, 1, 2]
    # Class 0 from about 0.7, class 1 from about 0.4, class 2 was hardly seen.
    assert selector(predictions([0.6, 0.75], [0, 0]), 1).scores.tolist() == pytest.approx([0.75])
    assert selector(predictions([0.45, 0.2], [1, 1]), 1).scores.tolist() == pytest.approx([0.45])
    assert selector(predictions([0.6, 0.4], [2, 2]), 1).scores.tolist() == pytest.approx([0.6])


def test_queues_hold_the_latest():
    selector = MixtureSelector(2, length=3, least=2)
    selector(predictions([0.1, 0.9, 0.2], [0, 1, 0]), 0)
    selector(predictions([0.3, 0.4], [0, 0]), 0)
    # Class 0 saw 0.1, 0.2, 0.3, 0.4: the fourth takes the first one's place.
    state = selector.state_dict()
    assert state['queues'][0].tolist() == pytest.approx([0.4, 0.2, 0.3])
    assert state['queues'][1].tolist() == pytest.approx([0.9, 0, 0])
    assert state['seen'].tolist() == [4, 1]
    # More at once than there is room for: the last three, whichever place they have.
    selector(predictions([0.5, 0.6, 0.7, 0.8, 0.9], [0] * 5), 0)
    assert sorted(selector.state_dict()['queues'][0].tolist()) == pytest.approx([0.7, 0.8, 0.9])


def test_the_state_is_all_there_is():
    one, other = MixtureSelector(2, length=50), MixtureSelector(2, length=50)
    for row, scores in enumerate(two_heaps([0.2, 0.1], [0.8, 0.5], count=50)):
        one(predictions(scores, [row] * 50), 0)
    other.load_state_dict(copy.deepcopy(one.state_dict()))
    found = predictions(torch.linspace(0, 1, 40), [0, 1] * 20)
    for step in (0, 1, 2):
        assert one(found, step).scores.tolist() == other(found, step).scores.tolist()
    with pytest.raises(ValueError, match=r'length\) is \(3, 50\), but \(2, 50\) in the checkpoint'):
        MixtureSelector(3, length=50).load_state_dict(one.state_dict())


def test_a_chain_remembers_what_its_selectors_do():
    mixture = dict(type='MixtureSelector', num_classes=1, length=4, least=2)
    chain = [SelectorChain([dict(type='TopSelector', count=2), mixture]) for _ in range(2)]
    chain[0](predictions([0.1, 0.2, 0.9], [0, 0, 0]), 0)
    chain[1].load_state_dict(chain[0].state_dict())
    assert chain[1].selectors[1].state_dict()['queues'].tolist() == [
        pytest.approx([0.2, 0.9, 0, 0])
    ]


def test_a_resumed_run_goes_on_with_the_queues(digits_cfg):
    mixture = dict(type='MixtureSelector', num_classes=10, length=20, least=2, default=0.1)
    digits_cfg.default_hooks.teacher.selector = mixture
    digits_cfg.train_cfg.max_iters = 4
    resumed = copy.deepcopy(digits_cfg)
    resumed.work_dir += '-resumed'
    resumed.merge_from_dict(dict(resume=True, load_from=f'{digits_cfg.work_dir}/iter_2.pth'))
    states = []
    for cfg in (digits_cfg, resumed):
        runner = Runner.from_cfg(cfg)
        runner.train()
        hook = next(h for h in runner.hooks if isinstance(h, TeacherHook))
        states.append(hook.selector.state_dict())
    assert states[0]['seen'].sum() > 0
    assert torch.equal(states[0]['queues'], states[1]['queues'])
    assert torch.equal(states[0]['seen'], states[1]['seen'])


@pytest.mark.parametrize(
    'settings',
    [dict(num_classes=0), dict(length=1), dict(default=1.5), dict(least=1), dict(least=101)],
)
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(ValueError, match=f'MixtureSelector: {next(iter(settings))} is'):
        MixtureSelector(**{'num_classes': 2, **settings})


@pytest.mark.parametrize('kind', [MixtureSelector, PeakMixtureSelector])
def test_classes_of_another_number_than_the_datas_are_refused(kind):
    message = f'^{kind.__name__}: num_classes is 2, but must be 3, as in the data'
    with pytest.raises(ValueError, match=message):
        kind(2).check(None, 3)
    kind(3).check(None, 3)


@pytest.mark.parametrize('seed', range(5))
def test_the_fit_is_scikit_learns(seed):
    # As many steps from the same start; a hundred scores of two kinds.
    rng = np.random.default_rng(seed)
    low, high = rng.beta(2, 8, 60), rng.beta(8, 3, 40)
    scores = np.concatenate([low, high])[None]
    fitted = fit_mixtures(torch.from_numpy(scores), torch.ones(1, 100, dtype=torch.bool))
    oracle = GaussianMixture(
        2,
        max_iter=ITERATIONS,
        # It would stop early; and it adds to variances what ours are only not allowed to go below.
        tol=0,
        reg_covar=0,
        weights_init=[0.5, 0.5],
        means_init=[[scores.min()], [scores.max()]],
        precisions_init=[[[1 / scores.var()]]] * 2,
    )
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', ConvergenceWarning)
        oracle.fit(scores.T)
    wanted = oracle.means_[:, 0], oracle.covariances_[:, 0, 0], oracle.weights_
    for found, value in zip(fitted, wanted, strict=True):
        assert found[:, 0].tolist() == pytest.approx(value.tolist(), rel=1e-9)
    # And so are the thresholds: the lowest score that it gives to the higher Gaussian.
    (threshold,) = positive_thresholds(torch.from_numpy(scores), torch.ones(1, 100).bool())
    means = oracle.means_[:, 0]
    upper = (oracle.predict(scores.T) == means.argmax()) & (scores[0] > means.min())
    upper = scores[0][upper]
    assert threshold.item() == pytest.approx(upper.min())
