"""What many tests need: mmdet's scope, and the main example at a size of seconds."""

import copy
import json
import os
import subprocess
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path

# Before anything counts the GPUs: a test says the same on every machine.
os.environ['CUDA_VISIBLE_DEVICES'] = ''

import pytest
import shortcuts  # noqa: F401
from mmengine.config import Config
from mmengine.registry import DefaultScope, init_default_scope

from ssod.data.digits import make_digits
from ssod.data.scenes import DigitsScenes

TESTS = Path(__file__).parent
CONFIGS = TESTS.parent / 'configs'
# As pyproject.toml has it, for the processes that tests start.
path = os.environ.get('PYTHONPATH')
os.environ['PYTHONPATH'] = os.pathsep.join([str(TESTS / 'quick'), *([path] if path else [])])
SCENES = dict(train_images=20, val_images=4)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item):
    """Remove a test's checkpoints: those of the whole suite would take 8 GB."""
    result = yield
    if 'tmp_path' in item.funcargs:
        for checkpoint in item.funcargs['tmp_path'].rglob('*.pth'):
            with suppress(OSError):  # A folder of that name, or one that cannot be written to.
                checkpoint.unlink()
    return result


@pytest.fixture(autouse=True)
def _mmdet_scope():
    """Configs name mmdet's classes, as they do inside a runner."""
    current = DefaultScope.get_current_instance()
    if current is None or current.scope_name != 'mmdet':
        init_default_scope('mmdet')


@pytest.fixture(scope='session')
def digits(tmp_path_factory):
    """Twenty training scenes, two of them labelled, and four for validation."""
    return make_digits(tmp_path_factory.mktemp('data') / 'digits', DigitsScenes(**SCENES))


@cache
def main_example():
    return Config.fromfile(CONFIGS / 'mt_fasterrcnn_digits10pct.py')


@pytest.fixture
def digits_cfg(digits, tmp_path):
    """The main example on those scenes: batches of 1 + 3, no burn-in, frozen batch norms.

    It neither validates nor sums up, which takes longer than two iterations; see ``scored_cfg``.
    """
    cfg = copy.deepcopy(main_example())
    cfg.work_dir = str(tmp_path / 'run')
    # What has one name is one object, and would write where the first run did: visualizers, and the
    # loggers of runs that begin in the same second.
    cfg.visualizer.name, cfg.experiment_name = str(tmp_path), tmp_path.name
    cfg.train_cfg.update(max_iters=2, val_interval=2)
    cfg.model.detector.backbone.norm_eval = True
    cfg.model.detector.test_cfg.rcnn.score_thr = 0.01
    cfg.train_dataloader.update(batch_size=4, num_workers=0, persistent_workers=False)
    cfg.default_hooks.teacher.update(burn_in=0, selector=dict(type='ScoreSelector', threshold=0.1))
    cfg.default_hooks.quality.ann_file = str(digits / 'annotations/unlabeled_truth.json')
    cfg.default_hooks.logger.interval = 1
    cfg.default_hooks.checkpoint.update(interval=1, max_keep_ckpts=-1)
    cfg.val_evaluator.ann_file = str(digits / 'annotations/val.json')
    for dataset in (*cfg.train_dataloader.dataset.datasets, cfg.val_dataloader.dataset):
        dataset.update(data_root=str(digits), scenes=SCENES)
    cfg.default_hooks.pop('summary')
    for part in ('cfg', 'dataloader', 'evaluator'):
        cfg.pop(f'test_{part}')
        cfg[f'kept_{part}'] = cfg.pop(f'val_{part}')
    return cfg


@pytest.fixture
def scored_cfg(digits_cfg):
    """The same with its validation and test."""
    for part in ('cfg', 'dataloader', 'evaluator'):
        digits_cfg[f'val_{part}'] = digits_cfg.pop(f'kept_{part}')
    digits_cfg.test_cfg = dict(type='SemiSupervisedTestLoop')
    digits_cfg.test_dataloader = digits_cfg.val_dataloader
    digits_cfg.test_evaluator = digits_cfg.val_evaluator
    return digits_cfg


@pytest.fixture(scope='session')
def forks():
    """Runs scripts in processes of their own, which begin at once."""
    process = subprocess.Popen(
        [sys.executable, str(TESTS / 'forks.py')],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, 'OMP_NUM_THREADS': '1'},
    )
    yield Forks(process)
    process.stdin.close()
    process.wait(timeout=60)


class Forks:
    """Talks to ``forks.py``."""

    def __init__(self, process):
        self.process = process

    def begin(self, *command, place, log='fork.txt', **env):
        """Start a script in the directory ``place``; returns its process's number."""
        command = [str(part) for part in command]
        task = dict(command=command, place=str(place), log=log, env=env)
        self.process.stdin.write(f'{json.dumps(task)}\n')
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def end(self):
        """Wait for it; returns its exit code."""
        return int(self.process.stdout.readline())
