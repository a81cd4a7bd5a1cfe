"""Checkpoints execute nothing, appear whole, and the last good one stays."""

import copy
import logging
import os
import pickle
import resource
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.hooks import Hook
from mmengine.logging import HistoryBuffer, MMLogger
from mmengine.runner import CheckpointLoader, Runner

from ssod import checkpoints
from ssod.checkpoints import (
    latest_checkpoint,
    load_checkpoint,
    save_initialized,
)
from ssod.runs import set_resume


class Calls:
    """Pickles as the call of a function."""

    def __init__(self, function, *args):
        self.call = (function, args)

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    'hostile',
    [
        # The classic.
        lambda path: Calls(os.system, f'touch {path}'),
        # What mmengine lets through: any attribute of anything.
        lambda path: Calls(getattr, HistoryBuffer, '__init__'),
        lambda path: Calls(getattr, np.ndarray, 'tofile'),
        lambda path: Calls(eval, f'open({str(path)!r}, "w")'),
    ],
)
def test_a_hostile_checkpoint_executes_nothing(tmp_path, hostile):
    trap, file = tmp_path / 'trap', tmp_path / 'x.pth'
    torch.save({'state_dict': {}, 'meta': hostile(trap)}, file)
    # The way that every checkpoint of mmengine takes.
    with pytest.raises(ValueError, match=r'x\.pth .* holds more than weights') as caught:
        CheckpointLoader.load_checkpoint(str(file), 'cpu')
    assert '\n' not in str(caught.value)
    assert not trap.exists()


def test_the_hostile_checkpoint_is_one(tmp_path):
    # Read carelessly, it does execute: the test above would notice.
    trap, file = tmp_path / 'trap', tmp_path / 'x.pth'
    torch.save(Calls(os.system, f'touch {trap}'), file)
    torch.load(file, weights_only=False)
    assert trap.exists()


def test_a_checkpoint_of_mmengine_is_read(tmp_path):
    # With what mmengine and mmdet write: histories, arrays, NumPy's numbers.
    history = HistoryBuffer([1.0, 2.0], [1, 1])
    content = {
        'state_dict': {'w': torch.ones(2)},
        'message_hub': {'log_scalars': {'train/loss': history}},
        'meta': {'a': np.arange(3), 'b': np.float64(0.5), 'c': np.int64(7), 'd': np.bool_(True)},
    }
    torch.save(content, tmp_path / 'x.pth')
    found = load_checkpoint(str(tmp_path / 'x.pth'), 'cpu')
    assert found['message_hub']['log_scalars']['train/loss'].mean() == 1.5
    assert found['meta']['a'].tolist() == [0, 1, 2]
    assert (found['meta']['b'], found['meta']['c'], found['meta']['d']) == (0.5, 7, True)


def test_two_threads_read_at_once(tmp_path, monkeypatch):
    """A study does, with two jobs: torch forgets what it may read when the first one ends."""
    for name in ('first', 'second'):
        torch.save({'state_dict': {}, 'meta': {'a': np.arange(3)}}, tmp_path / name)
    first_began, second_began, first_ended = (threading.Event() for _ in range(3))
    load = torch.load

    def slowly(path, *rest, **others):
        if path.name == 'first':
            first_began.set()
            second_began.wait(0.2)
        else:
            second_began.set()
            first_ended.wait(5)
        return load(path, *rest, **others)

    def read_first():
        load_checkpoint(tmp_path / 'first')
        first_ended.set()

    monkeypatch.setattr(torch, 'load', slowly)
    other = threading.Thread(target=read_first)
    other.start()
    first_began.wait(5)
    assert load_checkpoint(tmp_path / 'second')['meta']['a'].tolist() == [0, 1, 2]
    other.join()


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (b'', 'damaged'),
        (b'no checkpoint at all', 'damaged'),
        (pickle.dumps({'a': 1})[:-3], 'damaged'),
        (b'hello world', 'damaged'),
        (b'Moved Permanently', 'damaged'),
        ('half', 'damaged'),
        ('begun', 'damaged'),
        ('changed', 'damaged'),
    ],
)
def test_a_damaged_checkpoint_is_named(tmp_path, content, message):
    file = tmp_path / 'x.pth'
    if isinstance(content, str):
        # So long that what is left of it has nothing of its end; that is read in another way.
        torch.save({'w': torch.zeros(1000 if content == 'half' else 100_000)}, file)
        whole = file.read_bytes()
        content = {
            'half': whole[:2000],
            'begun': whole[:20_000],
            'changed': whole.replace(b'torch._utils', b'torch.\xb9utils'),
        }[content]
    file.write_bytes(content)
    with pytest.raises(ValueError, match=rf'x\.pth is {message}') as caught:
        load_checkpoint(str(file))
    assert '\n' not in str(caught.value)


def test_what_is_no_checkpoint_is_named(tmp_path):
    torch.save([torch.zeros(1)], tmp_path / 'x.pth')
    with pytest.raises(ValueError, match=r'x\.pth is not one, but a list; use another one'):
        load_checkpoint(str(tmp_path / 'x.pth'))


@pytest.mark.parametrize('content', [{1: torch.zeros(1)}, {'state_dict': [torch.zeros(1)]}])
def test_weights_without_names_are_refused(tmp_path, content):
    torch.save(content, tmp_path / 'x.pth')
    with pytest.raises(ValueError, match=r'x\.pth has no weights with names; use another one'):
        load_checkpoint(str(tmp_path / 'x.pth'))


def test_a_missing_checkpoint_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match='no.pth does not exist'):
        load_checkpoint(str(tmp_path / 'no.pth'))


def test_what_is_beside_the_checkpoints(tmp_path):
    (tmp_path / 'last_checkpoint').write_text('/once/here/iter_3.pth')
    torch.save({'state_dict': {}}, tmp_path / 'iter_3.pth')
    for given in (tmp_path, tmp_path / 'last_checkpoint'):
        with pytest.raises(
            ValueError, match=rf'{given} is not a checkpoint itself; give {tmp_path}/iter_3\.pth$'
        ):
            load_checkpoint(str(given))
    (tmp_path / 'iter_3.pth').unlink()
    with pytest.raises(ValueError, match='give a .pth file'):
        load_checkpoint(str(tmp_path))


def test_weights_of_a_url_are_read_as_safely(tmp_path, monkeypatch):
    torch.save(Calls(os.system, 'true'), tmp_path / 'x.pth')
    monkeypatch.setattr(checkpoints, 'fetch_weights', lambda url: tmp_path / 'x.pth')
    for beginning in CheckpointLoader._schemes:
        # Of the regular expressions the plainest.
        url = beginning.removeprefix(r'(\S+\:)?') + 'x.pth'
        message = 'does not exist' if beginning == '' else 'holds more than weights|be executed'
        with pytest.raises((ValueError, FileNotFoundError), match=message):
            CheckpointLoader.load_checkpoint(url, 'cpu')


def test_an_initialized_detector(digits_cfg, tmp_path):
    told = []
    handler = logging.Handler()
    handler.emit = lambda record: told.append(record.getMessage())
    MMLogger.get_instance('initialized').addHandler(handler)
    one, same, other = (tmp_path / f'{name}.pth' for name in ('one', 'same', 'other'))
    for path, seed in ((one, 1), (same, 1), (other, 2)):
        save_initialized(digits_cfg.model.detector, seed, path)
    weights = [load_checkpoint(str(path))['state_dict'] for path in (one, same, other)]
    name = 'rpn_head.rpn_conv.weight'
    assert torch.equal(weights[0][name], weights[1][name])
    assert not torch.equal(weights[0][name], weights[2][name])
    # Initialized as its config says (normal, 0.01), and of that nothing is told.
    assert weights[0][name].std().item() == pytest.approx(0.01, rel=0.1)
    assert name not in ''.join(told)


def test_latest_checkpoint(tmp_path):
    assert latest_checkpoint(tmp_path) is None
    for name in ('iter_9.pth', 'iter_10.pth', 'best_iter_99.pth', '.iter_11.pth.1.unfinished'):
        (tmp_path / name).touch()
    # By number, not by name; neither what is unfinished nor what is the best so far.
    assert latest_checkpoint(tmp_path) == tmp_path / 'iter_10.pth'
    note = tmp_path / 'last_checkpoint'
    note.write_text(str(tmp_path / 'iter_9.pth'))
    assert latest_checkpoint(tmp_path) == tmp_path / 'iter_9.pth'
    # In a copy of the directory its own file of that name is meant.
    copy = tmp_path / 'copy'
    copy.mkdir()
    (copy / 'last_checkpoint').write_text(note.read_text())
    (copy / 'iter_9.pth').touch()
    assert latest_checkpoint(copy) == copy / 'iter_9.pth'
    # A kill may leave the note empty, or naming what was never finished.
    for text in ('', str(tmp_path / 'iter_12.pth')):
        note.write_text(text)
        assert latest_checkpoint(tmp_path) == tmp_path / 'iter_10.pth'


def names(directory):
    return sorted(path.name for path in Path(directory).glob('*.pth'))


def test_the_last_good_checkpoint_survives_a_full_disk(digits_cfg, monkeypatch):
    digits_cfg.train_cfg.max_iters = 3
    digits_cfg.default_hooks.checkpoint.update(interval=1, max_keep_ckpts=1)
    runner = Runner.from_cfg(digits_cfg)
    save = runner.save_checkpoint
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def save_on_a_small_disk(*args, **kwargs):
        if runner.iter == 2:
            # The kernel's own error, in the middle of the third checkpoint.
            resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
        save(*args, **kwargs)

    runner.save_checkpoint = save_on_a_small_disk
    try:
        with pytest.raises(OSError, match='cannot write a checkpoint: .*iter_3.pth') as caught:
            runner.train()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert 'the last good checkpoint is' in str(caught.value)
    assert 'iter_2.pth' in str(caught.value)
    # mmengine removes iter_2.pth before it writes iter_3.pth.
    assert names(digits_cfg.work_dir) == ['iter_2.pth']
    assert load_checkpoint(f'{digits_cfg.work_dir}/iter_2.pth')['meta']['iter'] == 2


def test_outdated_checkpoints_are_removed(scored_cfg):
    scored_cfg.train_cfg.update(max_iters=3, val_interval=1)
    scored_cfg.default_hooks.checkpoint.update(
        interval=1, max_keep_ckpts=2, save_best='student/coco/bbox_mAP', rule='greater'
    )
    left = Path(scored_cfg.work_dir, '.iter_1.pth.123.unfinished')
    left.parent.mkdir(parents=True)
    left.touch()
    Runner.from_cfg(scored_cfg).train()
    found = names(scored_cfg.work_dir)
    assert [name for name in found if name.startswith('iter')] == ['iter_2.pth', 'iter_3.pth']
    assert len([name for name in found if name.startswith('best')]) == 1
    assert not left.exists()
    assert latest_checkpoint(scored_cfg.work_dir).name == 'iter_3.pth'


def test_a_run_does_not_go_on_from_its_best_checkpoint(scored_cfg):
    # mmengine writes it without optimizer and schedules, and resumes with fresh ones.
    best = 'best_teacher_coco_bbox_mAP_iter_2.pth'
    scored_cfg.default_hooks.checkpoint.save_best = 'teacher/coco/bbox_mAP'
    Runner.from_cfg(copy.deepcopy(scored_cfg)).train()
    path = Path(scored_cfg.work_dir, best)
    scored_cfg.train_cfg.max_iters = 3
    begun, resumed = copy.deepcopy(scored_cfg), scored_cfg
    set_resume(resumed, str(path))
    message = f'{best} has no optimizer state, .*; resume from one like iter_1000.pth, or start'
    with pytest.raises(ValueError, match=message) as caught:
        Runner.from_cfg(resumed).train()
    assert '\n' not in str(caught.value)
    # As a start it is as good as any.
    begun.load_from, begun.train_cfg.max_iters = str(path), 1
    Runner.from_cfg(begun).train()


def test_a_run_does_not_go_on_from_what_does_not_say_its_iteration(digits_cfg, tmp_path):
    torch.save({'state_dict': {}, 'optimizer': {}, 'meta': 'by hand'}, tmp_path / 'x.pth')
    set_resume(digits_cfg, str(tmp_path / 'x.pth'))
    digits_cfg.default_hooks.pop('pretrained')  # It would refuse the weights first.
    with pytest.raises(
        ValueError, match=r'x\.pth does not say its iteration \(in meta\), so a run'
    ):
        Runner.from_cfg(digits_cfg).train()


def overridden_in(work_dir):
    logs = Path(work_dir).glob('*/*.log')
    lines = (line for log in logs for line in log.read_text().splitlines())
    return [line for line in lines if 'have no effect' in line]


def test_changed_settings_that_a_checkpoint_overrides_are_named(digits_cfg):
    steps = dict(type='MultiStepLR', milestones=[1, 5], gamma=0.5, by_epoch=False)
    digits_cfg.param_scheduler = [steps]
    Runner.from_cfg(copy.deepcopy(digits_cfg)).train()
    digits_cfg.train_cfg.max_iters = 3
    set_resume(digits_cfg, 'auto')
    changed = copy.deepcopy(digits_cfg)
    # As it began: the rate has fallen since, which is no change.
    Runner.from_cfg(digits_cfg).train()
    assert overridden_in(digits_cfg.work_dir) == []
    changed.train_cfg.max_iters = 4
    changed.param_scheduler[0].milestones = [3]
    changed.optim_wrapper.optimizer.update(lr=0.5, weight_decay=0.25)
    runner = Runner.from_cfg(changed)
    runner.train()
    (line,) = overridden_in(digits_cfg.work_dir)
    assert line.endswith(
        'iter_2.pth: optimizer and learning rate continue with the settings in the checkpoint, so '
        'these changes have no effect: MultiStepLR.milestones = [3] (in the checkpoint [1, 5]), '
        'optimizer.lr = 0.5 (in the checkpoint 0.001), optimizer.weight_decay = 0.25 (in the '
        'checkpoint 0.01); to make them, start a new run with load_from'
    )
    # They have none indeed.
    assert runner.optim_wrapper.optimizer.param_groups[0]['lr'] == 0.0005
    assert runner.param_schedulers[0].milestones == {1: 1, 5: 1}


@pytest.mark.parametrize('elsewhere', [False, True])
def test_checkpoints_of_an_earlier_run_are_not_this_ones(scored_cfg, tmp_path, elsewhere):
    scored_cfg.train_cfg.max_iters = 2
    work_dir = folder = Path(scored_cfg.work_dir)
    if elsewhere:
        # mmengine notes the last one in the work directory nevertheless.
        folder = tmp_path / 'elsewhere' / work_dir.name
        scored_cfg.default_hooks.checkpoint.out_dir = str(folder.parent)
    for made in (work_dir, folder):
        made.mkdir(parents=True, exist_ok=True)
    (folder / 'iter_9.pth').touch()
    (work_dir / 'last_checkpoint').write_text(str(folder / 'iter_9.pth'))
    runner = Runner.from_cfg(copy.deepcopy(scored_cfg))
    found = []

    class Killed(Hook):
        def before_train_iter(self, runner, batch_idx, data_batch=None):
            found.append(latest_checkpoint(work_dir))

    runner.register_hook(Killed())
    runner.train()
    (log,) = work_dir.glob('*/*.log')
    assert f'{folder} has an earlier run, of which this one replaces the config' in log.read_text()
    assert found[0] is None
    # Nor are they removed.
    assert (folder / 'iter_9.pth').is_file()
    last = latest_checkpoint(work_dir)
    assert last == folder / 'iter_2.pth'
    # One that goes on has a last checkpoint from the beginning.
    found.clear()
    scored_cfg.train_cfg.max_iters = 3
    set_resume(scored_cfg, 'auto')
    runner = Runner.from_cfg(scored_cfg)
    runner.register_hook(Killed())
    runner.train()
    assert found == [last]


def test_a_checkpoint_may_replace_one_of_its_name(digits_cfg):
    digits_cfg.default_hooks.checkpoint.update(max_keep_ckpts=1, filename_tmpl='latest.pth')
    Runner.from_cfg(digits_cfg).train()
    # mmengine first removes the old one, then writes the new one, with a backend of its own.
    path = Path(digits_cfg.work_dir, 'latest.pth')
    assert load_checkpoint(path)['meta']['iter'] == 2
    assert latest_checkpoint(digits_cfg.work_dir) == path


def test_a_runner_that_only_validates(scored_cfg):
    # Its checkpoint hook was never set up.
    scored_cfg.default_hooks.checkpoint.save_best = 'auto'
    assert 'teacher/coco/bbox_mAP' in Runner.from_cfg(scored_cfg).val()
