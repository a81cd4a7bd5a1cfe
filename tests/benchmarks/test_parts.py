"""What is timed beside mmdet's own does the same as mmdet's own."""

import numpy as np
import torch

from ssod.benchmarks import parts
from ssod.benchmarks.parts import data_calls, ema_calls, scoring_calls


def test_updates_are_equal(digits_cfg, monkeypatch):
    pairs = []
    build = parts._Pair

    def remember(*arguments):
        pairs.append(build(*arguments))
        return pairs[0]

    monkeypatch.setattr(parts, '_Pair', remember)
    calls = ema_calls(digits_cfg.model.detector, 'cpu')
    (pair,) = pairs
    before = {k: v.clone() for k, v in pair.teacher.state_dict().items()}
    after = {}
    for name, call in calls.items():
        pair.teacher.load_state_dict(before)
        call()
        after[name] = {k: v.clone() for k, v in pair.teacher.state_dict().items()}
    moved = 0
    for name, value in after['ours'].items():
        torch.testing.assert_close(value, after['mmdet'][name])
        moved += not torch.equal(value, before[name])
    assert moved > 10


def test_views_are_as_many(digits_cfg):
    calls = data_calls(digits_cfg)
    ours, theirs = calls['ours'](), calls['mmdet']()
    # Ours has a place for labelled images too.
    assert [ours['inputs'][name] is None for name in ('labeled', 'weak', 'strong')] == [
        True,
        False,
        False,
    ]
    assert len(theirs['inputs']) == 2
    # The same image, and a weak view that nothing was done to.
    weak = theirs['inputs']['unsup_teacher']
    assert torch.equal(ours['inputs']['weak'], weak)


def test_scores_are_equal(tmp_path):
    calls = scoring_calls(tmp_path, images=20, truths=100, per_image=10)
    ours, theirs = calls['ours'](), calls['mmdet']()
    assert ours == theirs
    assert ours['bbox_mAP_50'] > 0.1
    assert np.isfinite(list(ours.values())).all()
