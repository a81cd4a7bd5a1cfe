"""Every digits config trains: a step on labels alone, two with its teacher."""

from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config
from mmengine.runner import Runner

from ssod.checkpoints import load_checkpoint

CONFIGS = Path(__file__).parents[1] / 'configs'
SCENES = dict(train_images=20, val_images=4)
NAMES = sorted(path.stem for path in CONFIGS.glob('*_digits10pct.py'))
# tools/train.py --detector and the offline teacher have tests of their own.
ELSEWHERE = ['mt_any_digits10pct', 'stac_fasterrcnn_digits10pct']


@pytest.mark.parametrize('name', [name for name in NAMES if name not in ELSEWHERE])
def test_a_digits_config_trains(name, digits, tmp_path):
    cfg = Config.fromfile(CONFIGS / f'{name}.py')
    cfg.work_dir = str(tmp_path / 'run')
    cfg.visualizer.name = str(tmp_path)
    loader = cfg.train_dataloader
    views = sum(loader.sampler.source_ratio)
    loader.update(batch_size=2 * views, num_workers=0, persistent_workers=False)
    for dataset in loader.dataset.datasets:
        dataset.update(data_root=str(digits), scenes=SCENES)
    hooks = cfg.default_hooks
    hooks.quality.ann_file = str(digits / 'annotations/unlabeled_truth.json')
    hooks.logger.interval = 1
    hooks.checkpoint.interval = 3
    supervised = name.startswith('supervised')
    hooks.teacher.burn_in = 3 if supervised else 1
    hooks.pop('summary')
    for part in ('cfg', 'dataloader', 'evaluator'):
        cfg.pop(f'val_{part}')
        cfg.pop(f'test_{part}')
    cfg.train_cfg = dict(type='IterBasedTrainLoop', max_iters=3)
    runner = Runner.from_cfg(cfg)
    runner.train()
    logged = {k: v.data[0] for k, v in runner.message_hub.log_scalars.items() if 'loss' in k}
    assert all(np.isfinite(values).all() for values in logged.values())
    taught = any(k.startswith('train/pseudo') for k in logged)
    assert taught is not supervised
    assert load_checkpoint(tmp_path / 'run/iter_3.pth')['meta']['iter'] == 3
