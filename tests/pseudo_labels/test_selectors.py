"""Which boxes are kept."""

import pytest
import torch
from mmdet.registry import TASK_UTILS
from mmengine.structures import InstanceData

from ssod.pseudo_labels.selectors import (
    ClassScoreSelector,
    ScoreSelector,
    ScoreWeights,
    Selector,
    SelectorChain,
    TopSelector,
    UncertaintySelector,
    build_selector,
    restore_selector,
    selector_state,
)


def predictions(scores):
    n = len(scores)
    return InstanceData(
        bboxes=torch.arange(4.0 * n).reshape(n, 4),
        scores=torch.tensor(scores),
        labels=torch.arange(n),
    )


@pytest.mark.parametrize(
    ('scores', 'threshold', 'kept'),
    [
        # Nothing found, nothing kept.
        ([], 0.5, []),
        ([0.4], 0.5, []),
        # The threshold itself is reached.
        ([0.5], 0.5, [0]),
        # The order stays.
        ([0.6, 0.2, 0.9], 0.5, [0, 2]),
        ([0.1, 0.0], 0.0, [0, 1]),
    ],
)
def test_score_selector(scores, threshold, kept):
    chosen = ScoreSelector(threshold)(predictions(scores), step=0)
    assert chosen.labels.tolist() == kept
    assert chosen.bboxes[:, 0].tolist() == [4.0 * i for i in kept]


def test_the_threshold_may_change_over_training():
    selector = ScoreSelector(dict(type='linear', start=0.9, end=0.5, steps=10))
    found = predictions([0.6, 0.95])
    assert [len(selector(found, step)) for step in (0, 5, 8, 10)] == [1, 1, 2, 2]


@pytest.mark.parametrize(
    'threshold',
    [
        *(-0.1, 1.5, 70),
        dict(type='linear', start=0.9, end=1.2, steps=10),
        dict(type='stepwise', values=[0.5, 70, 0.5], milestones=[10, 20]),
    ],
)
def test_impossible_thresholds_are_refused(threshold):
    with pytest.raises(ValueError, match=r'but must be in \[0, 1\]'):
        ScoreSelector(threshold)


def test_built_from_a_config_with_a_misspelt_key():
    with pytest.raises(ValueError, match="did you mean 'threshold'"):
        TASK_UTILS.build(dict(type='ScoreSelector', treshold=0.7))


@pytest.mark.parametrize(
    ('scores', 'thresholds', 'kept'),
    [
        # Box i is of class i. Nothing found, nothing kept, whatever the classes.
        ([], [], []),
        ([0.5], [0.5], [0]),
        # The same score suffices in one class and not in another.
        ([0.6, 0.6, 0.6], [0.7, 0.5, 0.6], [1, 2]),
        # Classes that were not found do no harm.
        ([0.6], [0.5, 0.9, 0.9], [0]),
    ],
)
def test_class_score_selector(scores, thresholds, kept):
    chosen = ClassScoreSelector(thresholds)(predictions(scores), step=0)
    assert chosen.labels.tolist() == kept


def test_the_thresholds_of_classes_may_change_over_training():
    ramp = dict(type='linear', start=0.9, end=0.5, steps=10)
    selector = ClassScoreSelector([ramp, 0.6])
    found = predictions([0.6, 0.6])
    assert [selector(found, step).labels.tolist() for step in (0, 10)] == [[1], [0, 1]]


def test_too_few_or_impossible_thresholds_of_classes_are_refused():
    with pytest.raises(ValueError, match=r'thresholds\[1\] is 70, but must be in \[0, 1\]'):
        ClassScoreSelector([0.5, 70])
    message = 'ClassScoreSelector: number of thresholds is 2, but must be 3, one for each class'
    with pytest.raises(ValueError, match=message):
        ClassScoreSelector([0.5, 0.5]).check(Model(), 3)
    ClassScoreSelector([0.5, 0.5, 0.5]).check(Model(), 3)


@pytest.mark.parametrize(
    ('scores', 'settings', 'kept'),
    [
        # No box, and fewer boxes than asked for.
        ([], dict(count=3), []),
        ([0.1], dict(count=3), [0]),
        # The best two, in the order in which they came.
        ([0.2, 0.9, 0.1, 0.5], dict(count=2), [1, 3]),
        # Of equal ones the first.
        ([0.5, 0.5, 0.5], dict(count=1), [0]),
        # Half of five is three; a tenth of one is one.
        ([0.1, 0.2, 0.3, 0.4, 0.5], dict(share=0.5), [2, 3, 4]),
        ([0.1], dict(share=0.1), [0]),
        # Seven hundredths of a hundred are seven, though not in binary.
        ([i / 100 for i in range(100)], dict(share=0.07), list(range(93, 100))),
        # The stricter of both counts.
        ([0.1, 0.2, 0.3, 0.4], dict(count=3, share=0.5), [2, 3]),
        ([0.1, 0.2, 0.3, 0.4], dict(count=1, share=0.5), [3]),
    ],
)
def test_top_selector(scores, settings, kept):
    assert TopSelector(**settings)(predictions(scores), 0).labels.tolist() == kept


@pytest.mark.parametrize('settings', [dict(count=0), dict(share=0), dict(share=1.1)])
def test_impossible_tops_are_refused(settings):
    with pytest.raises(ValueError, match='TopSelector: .* but must be'):
        TopSelector(**settings)


def test_a_chain_keeps_what_all_keep():
    # The better half of the good ones, or the good ones of the better half.
    best, good = dict(type='TopSelector', share=0.5), dict(type='ScoreSelector', threshold=0.5)
    chain = TASK_UTILS.build(dict(type='SelectorChain', selectors=[good, best]))
    assert chain(predictions([0.9, 0.1, 0.6, 0.2]), 0).labels.tolist() == [0]
    chain = TASK_UTILS.build(dict(type='SelectorChain', selectors=[best, good]))
    assert chain(predictions([0.9, 0.1, 0.6, 0.2]), 0).labels.tolist() == [0, 2]
    assert TASK_UTILS.build(dict(type='SelectorChain', selectors=[]))(predictions([0.1]), 0)


@pytest.mark.parametrize(
    ('uncertainties', 'kept'),
    [
        ([], []),
        # Less than the threshold, not equal to it.
        ([0.02], []),
        ([0.019, 0.5, float('inf'), 0.0], [0, 3]),
    ],
)
def test_uncertainty_selector(uncertainties, kept):
    found = predictions([0.9] * len(uncertainties))
    found.uncertainties = torch.tensor(uncertainties)
    assert UncertaintySelector(0.02)(found, step=0).labels.tolist() == kept


@pytest.mark.parametrize(
    ('scores', 'power', 'weights'),
    [([], 1.0, []), ([0.25, 1.0], 1.0, [0.25, 1.0]), ([0.25, 1.0], 0.5, [0.5, 1.0])],
)
def test_score_weights(scores, power, weights):
    found = predictions(scores)
    weighted = ScoreWeights(power)(found, step=0)
    assert weighted.weights.tolist() == weights
    assert len(weighted) == len(scores)
    assert 'weights' not in found, 'what was given stays as it was'


def test_weights_after_a_threshold():
    chain = SelectorChain(
        [dict(type='ScoreSelector', threshold=0.5), dict(type='ScoreWeights', power=2)]
    )
    chosen = chain(predictions([0.5, 0.4, 1.0]), step=0)
    assert (chosen.labels.tolist(), chosen.weights.tolist()) == ([0, 2], [0.25, 1.0])


@pytest.mark.parametrize('power', [0, -1])
def test_weights_that_do_not_grow_with_the_score_are_refused(power):
    with pytest.raises(ValueError, match=f'power is {power}, but must be above 0'):
        ScoreWeights(power)


class Model:
    """A dense detector without box_jitter, whose head cannot weight boxes."""

    box_jitter = None
    weighs_boxes = True
    student = torch.nn.Module()


@pytest.mark.parametrize(
    ('setting', 'message'),
    [
        (dict(type='UncertaintySelector'), r'set model.box_jitter=dict\(\)'),
        (dict(type='ScoreWeights'), 'cannot weight boxes by their scores'),
    ],
)
def test_a_model_that_does_not_suit_is_refused_before_training(setting, message):
    chain = SelectorChain([dict(type='TopSelector', count=3), setting])
    with pytest.raises(ValueError, match=message):
        chain.check(Model(), 3)


def test_a_function_is_no_selector(monkeypatch):
    # It would have no state and no check, though it could be called like one.
    def keep_all():
        return lambda predictions, step: predictions

    monkeypatch.setitem(TASK_UTILS.module_dict, 'keep_all', keep_all)
    for build in (build_selector, lambda settings: SelectorChain([settings])):
        with pytest.raises(ValueError, match=r'function .* from ssod\.pseudo_labels\.Selector$'):
            build(dict(type='keep_all'))


def test_a_selector_that_only_selects(monkeypatch):
    class KeepAll(Selector):
        def __call__(self, predictions, step):
            return predictions

    monkeypatch.setitem(TASK_UTILS.module_dict, 'KeepAll', KeepAll)
    selector = build_selector(dict(type='KeepAll'))
    selector.check(Model(), 3)
    assert selector_state(selector) is None
    # What a checkpoint before said of a selector without a state.
    restore_selector(selector, None)
    restore_selector(selector, {'kind': 'KeepAll', 'remembers': 5})
    assert len(selector(predictions([0.1]), 0)) == 1


def test_a_selector_of_another_kind_begins_anew():
    class Remembers(Selector):
        state = 0

        def __call__(self, predictions, step):
            return predictions

        def state_dict(self):
            return self.state

        def load_state_dict(self, state):
            self.state = state

    class Other(Remembers):
        pass

    one, other = Remembers(), Other()
    one.state = 5
    restore_selector(other, selector_state(one))
    assert other.state == 0
    again = Remembers()
    restore_selector(again, selector_state(one))
    assert again.state == 5
    # A chain that became longer, or is none any more.
    chains = [SelectorChain([]), SelectorChain([])]
    chains[0].selectors, chains[1].selectors = [one], [Remembers(), Other()]
    restore_selector(chains[1], selector_state(chains[0]))
    assert [selector.state for selector in chains[1].selectors] == [5, 0]
    restore_selector(again, selector_state(chains[0]))
    assert again.state == 5
