"""Which boxes are kept."""

import pytest
import torch
from mmdet.registry import TASK_UTILS
from mmengine.structures import InstanceData

from ssod.pseudo_labels.selectors import ScoreSelector


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


@pytest.mark.parametrize('threshold', [-0.1, 1.5, 70])
def test_impossible_thresholds_are_refused(threshold):
    with pytest.raises(ValueError, match='scores lie in'):
        ScoreSelector(threshold)


def test_built_from_a_config_with_a_misspelt_key():
    with pytest.raises(ValueError, match="did you mean 'threshold'"):
        TASK_UTILS.build(dict(type='ScoreSelector', treshold=0.7))
