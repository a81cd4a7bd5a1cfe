"""Every digits config trains: a step on labels alone, two with its teacher."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config
from mmengine.runner import Runner

from ssod.checkpoints import load_checkpoint

TESTS = Path(__file__).parent
CONFIGS = TESTS.parent / 'configs'
SCENES = dict(train_images=20, val_images=4)
# tools/train.py --detector and the offline teacher have tests of their own.
OTHERS = ['mt_any_digits10pct', 'stac_fasterrcnn_digits10pct']
NAMES = sorted({path.stem for path in CONFIGS.glob('*_digits10pct.py')} - set(OTHERS))


@pytest.fixture(params=NAMES)
def cfg(request, digits, tmp_path):
    cfg = Config.fromfile(CONFIGS / f'{request.param}.py')
    cfg.work_dir = str(tmp_path / 'run')
    cfg.visualizer.name = str(tmp_path)
    loader = cfg.train_dataloader
    views = sum(loader.sampler.source_ratio)
    loader.update(batch_size=2 * views, num_workers=0, persistent_workers=False)
    for dataset in (*loader.dataset.datasets, cfg.val_dataloader.dataset):
        dataset.update(data_root=str(digits), scenes=SCENES)
    cfg.val_evaluator.ann_file = str(digits / 'annotations/val.json')
    hooks = cfg.default_hooks
    hooks.quality.ann_file = str(digits / 'annotations/unlabeled_truth.json')
    hooks.logger.interval = 1
    hooks.checkpoint.interval = 3
    cfg.supervised = request.param.startswith('supervised')
    hooks.teacher.burn_in = 3 if cfg.supervised else 1
    hooks.pop('summary')
    for part in ('cfg', 'dataloader', 'evaluator'):
        cfg.pop(f'test_{part}')
    cfg.train_cfg = dict(type='IterBasedTrainLoop', max_iters=3, val_interval=3)
    return cfg


def test_a_digits_config_trains(cfg, tmp_path):
    for part in ('cfg', 'dataloader', 'evaluator'):
        cfg.pop(f'val_{part}')
    runner = Runner.from_cfg(cfg)
    runner.train()
    logged = {k: v.data[0] for k, v in runner.message_hub.log_scalars.items() if 'loss' in k}
    assert all(np.isfinite(values).all() for values in logged.values())
    taught = any(k.startswith('train/pseudo') for k in logged)
    assert taught is not cfg.supervised
    assert load_checkpoint(tmp_path / 'run/iter_3.pth')['meta']['iter'] == 3


def test_a_digits_config_trains_and_validates_on_another_device(cfg, tmp_path, forks):
    """As on a GPU: nothing that belongs together is on different devices."""
    if cfg.model.get('consistency'):
        cfg.model.verifier = {}
    cfg.dump(tmp_path / 'cfg.py')
    forks.begin(TESTS / 'training.py', 'cfg.py', 'elsewhere', place=tmp_path)
    assert forks.end() == 0
    checkpoint = load_checkpoint(tmp_path / 'run/iter_3.pth')
    assert {weights.device.type for weights in checkpoint['state_dict'].values()} == {'cpu'}


def test_the_other_device_refuses_what_a_gpu_refuses():
    """In a process of its own, which then knows of that device."""
    operations = {
        'there + here': True,
        'torch.cat([there, here])': True,
        'here[there.long()]': True,
        'there[there > 0] = here.flatten()': True,
        'there + there.sum() + here.sum()': False,
        'there[here.long()]': False,
        'there.copy_(here)': False,
        'torch.nn.Linear(3, 3).to(there.device)(there).sum().backward()': False,
    }
    code = f"""
import torch
from other_device import NAME, Elsewhere
with Elsewhere():
    for operation in {list(operations)}:
        there, here = torch.ones(3, 3, device=NAME), torch.ones(3, 3)
        try:
            exec(operation)
        except RuntimeError as error:
            print('some tensors are elsewhere, some on the CPU' in str(error))
        else:
            print(False)
"""
    done = subprocess.run([sys.executable, '-c', code], cwd=TESTS, capture_output=True, text=True)
    assert done.stdout.split() == [str(refused) for refused in operations.values()], done.stderr
