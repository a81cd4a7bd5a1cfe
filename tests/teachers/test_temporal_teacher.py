"""Temporal Ensembling in real iterations."""

import copy
from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.runner import Runner
from mmengine.structures import InstanceData

from ssod.checkpoints import load_checkpoint
from ssod.teachers import TemporalTeacherHook, temporal_teacher

SELECTOR = dict(type='ScoreSelector', threshold=0.1)


def view(path, matrix):
    meta = dict(img_path=path, homography_matrix=np.array(matrix, np.float32))
    return DetDataSample(metainfo=meta)


def found(box, score):
    return InstanceData(
        bboxes=torch.tensor([box]), scores=torch.tensor([score]), labels=torch.tensor([3])
    )


def averaged(hook, sample, prediction):
    """What the hook makes of a prediction for one weak view."""
    model = SimpleNamespace(teach=lambda weak: ([prediction], None))
    wrapper = SimpleNamespace(optim_context=nullcontext)
    runner = SimpleNamespace(model=model, optim_wrapper=wrapper)
    (average,), _ = hook.predict(runner, dict(data_samples=[sample]))
    return average


def test_views_meet_in_the_pixels_of_the_file():
    # The same box of the file, seen at half its size and then flipped in an image 100 px wide.
    half = view('a.png', [[0.5, 0, 0], [0, 0.5, 0], [0, 0, 1]])
    flipped = view('a.png', [[-1, 0, 100], [0, 1, 0], [0, 0, 1]])
    hook = TemporalTeacherHook(SELECTOR)
    first = averaged(hook, half, found([5.0, 10, 15, 30], 0.8))
    assert first.bboxes.tolist() == [[5, 10, 15, 30]]
    hook.memory.images.update(hook._fresh)
    assert hook.memory.images['a.png'].boxes.tolist() == [[10, 20, 30, 60]]
    second = averaged(hook, flipped, found([70.0, 20, 90, 60], 0.5))
    assert second.bboxes.flatten().tolist() == pytest.approx([70, 20, 90, 60])
    assert second.scores.tolist() == pytest.approx([0.6125])


def temporal(cfg, iters):
    cfg.default_hooks.teacher = dict(type='TemporalTeacherHook', selector=SELECTOR)
    cfg.train_cfg.max_iters = iters
    return cfg


def hook_of(runner):
    return next(hook for hook in runner.hooks if isinstance(hook, TemporalTeacherHook))


def whole_and_resumed(cfg, after):
    """A run, and one that goes on from its checkpoint after some iterations."""
    resumed = copy.deepcopy(cfg)
    resumed.work_dir += '-resumed'
    resumed.merge_from_dict(dict(resume=True, load_from=f'{cfg.work_dir}/iter_{after}.pth'))
    runners = []
    for each in (cfg, resumed):
        runners.append(Runner.from_cfg(each))
        runners[-1].train()
    return runners


def test_every_visit_is_remembered_and_resumed(digits_cfg):
    # Three of 18 unlabelled images in each of 8 iterations: all are seen once, six twice.
    runner, part = whole_and_resumed(temporal(digits_cfg, 8), after=5)
    memory = hook_of(runner).memory
    visits = [entry.visits for entry in memory.images.values()]
    assert (len(visits), sum(visits), max(visits)) == (18, 24, 2)
    assert sum(len(entry.labels) for entry in memory.images.values()) > 0
    # From the middle, as from the start.
    states = [hook_of(r).memory.state_dict() for r in (runner, part)]
    assert states[0]['keys'] == states[1]['keys']
    for name in ('visits', 'sizes', 'boxes', 'masses', 'labels'):
        assert torch.equal(states[0][name], states[1][name]), name
    ends = [load_checkpoint(f'{r.work_dir}/iter_8.pth')['state_dict'] for r in (runner, part)]
    assert all(torch.equal(tensor, ends[1][name]) for name, tensor in ends[0].items())


def test_what_was_seen_before_the_first_step_is_resumed(digits_cfg):
    # Gradients accumulate: one iteration is over, an update is not.
    cfg = temporal(digits_cfg, 2)
    cfg.optim_wrapper.accumulative_counts = 3
    runners = whole_and_resumed(cfg, after=1)
    memories = [hook_of(runner).memory.state_dict() for runner in runners]
    assert memories[0]['keys'] == memories[1]['keys']
    assert len(memories[0]['keys']) == 6


def test_a_model_that_measures_how_sure_boxes_are_is_refused(digits_cfg):
    cfg = temporal(digits_cfg, 1)
    cfg.model.box_jitter = {}
    with pytest.raises(ValueError, match='box_jitter cannot measure the uncertainty'):
        Runner.from_cfg(cfg).train()


def test_another_run_begins_with_no_memory(digits_cfg):
    runner = Runner.from_cfg(temporal(digits_cfg, 1))
    runner.train()
    assert hook_of(runner).memory.images
    other = copy.deepcopy(digits_cfg)
    other.work_dir, other.load_from = other.work_dir + '-other', f'{runner.work_dir}/iter_1.pth'
    second = Runner.from_cfg(other)
    second.train()
    assert {entry.visits for entry in hook_of(second).memory.images.values()} == {1}


def test_all_ranks_remember_what_each_has_seen(digits_cfg, monkeypatch):
    def with_another_rank(fresh):
        entry = next(iter(fresh.values()))
        return [fresh, {'/of/another/rank.png': entry}]

    monkeypatch.setattr(temporal_teacher, 'all_gather_object', with_another_rank)
    runner = Runner.from_cfg(temporal(digits_cfg, 1))
    runner.train()
    images = hook_of(runner).memory.images
    assert len(images) == 4
    assert '/of/another/rank.png' in images


def test_ranks_tell_what_they_have_seen_in_this_iteration_alone(digits_cfg, monkeypatch):
    told = []
    monkeypatch.setattr(temporal_teacher, 'all_gather_object', lambda x: told.append({*x}) or [x])
    Runner.from_cfg(temporal(digits_cfg, 2)).train()
    # Three of the 18 unlabelled images, and then three others.
    assert [len(paths) for paths in told] == [3, 3]
    assert told[0].isdisjoint(told[1])


def test_ranks_have_nothing_to_tell_in_the_burn_in(digits_cfg, monkeypatch):
    gathered = []
    monkeypatch.setattr(temporal_teacher, 'all_gather_object', lambda x: gathered.append(x) or [x])
    cfg = temporal(digits_cfg, 3)
    cfg.default_hooks.teacher.burn_in = 2
    Runner.from_cfg(cfg).train()
    assert [len(fresh) for fresh in gathered] == [3]


@pytest.mark.parametrize(
    'setting', [dict(decay=1.0), dict(iou=0.0), dict(max_boxes=0), dict(min_score=2.0)]
)
def test_settings_out_of_range_are_refused(setting):
    with pytest.raises(ValueError, match=f'TemporalTeacherHook: {next(iter(setting))} is'):
        TemporalTeacherHook(SELECTOR, **setting)
