"""Settings that would do harm before anybody looks at them."""

import copy
from pathlib import Path

import pytest
from mmengine.config import Config

from ssod.checks.settings import check_options, check_settings_of

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ('name', 'meant'),
    [
        # A letter too many, missing, another, two exchanged; at the begin, inside and at the end.
        ('train_cfgs', 'train_cfg'),
        ('rain_cfg', 'train_cfg'),
        ('optim_wraper', 'optim_wrapper'),
        ('modal', 'model'),
        ('trian_dataloader', 'train_dataloader'),
        ('param_schedulers', 'param_scheduler'),
        # Names of one's own.
        ('kept_dataloader', None),
        ('train_pipeline', None),
        ('unlabeled', None),
        ('m', None),
        ('model', None),
    ],
)
def test_misspelt_names(name, meant):
    cfg = Config({name: {}})
    if meant is None:
        check_settings_of(cfg)
        return
    with pytest.raises(ValueError, match=f"unknown setting '{name}'; did you mean '{meant}'"):
        check_settings_of(cfg)


@pytest.fixture(scope='module')
def whole():
    cfg = Config.fromfile(ROOT / 'configs/mt_fasterrcnn_digits10pct.py')
    check_settings_of(cfg)
    return cfg


@pytest.mark.parametrize(
    ('setting', 'value', 'told'),
    [
        ('randomness.sed', 1, "randomness: unknown setting 'sed'; did you mean 'seed'?"),
        ('randomness', 3, 'randomness is 3, but must be a dict'),
        ('randomness.seed', 'abc', "randomness.seed is 'abc', but must be a whole number of at"),
        ('randomness.seed', -1, 'randomness.seed is -1, but must be a whole number of at least 0'),
        ('env_cfg.cudnn', True, "env_cfg: unknown setting 'cudnn'"),
        (
            'optim_wrapper.clip_grad.max_nrm',
            1,
            "optim_wrapper.clip_grad: unknown setting 'max_nrm'; did you mean 'max_norm'?",
        ),
        # Would be found as the first checkpoint is written.
        (
            'default_hooks.checkpoint.intervl',
            5,
            "default_hooks.checkpoint: unknown setting 'intervl'; did you mean 'interval'?",
        ),
        (
            'train_dataloader.batchsize',
            3,
            "train_dataloader: unknown setting 'batchsize'; did you mean 'batch_size'?",
        ),
        ('val_dataloader.num_worker', 3, "val_dataloader: unknown setting 'num_worker'; did"),
        ('train_dataloader.batch_size', 'abc', "train_dataloader.batch_size is 'abc', but must be"),
        ('train_dataloader.batch_size', 2.5, 'train_dataloader.batch_size is 2.5, but must be'),
        ('val_dataloader.batch_size', 0, 'whole number of at least 1'),
        ('test_dataloader.num_workers', -1, 'whole number of at least 0'),
        ('train_cfg.max_iters', 'abc', "train_cfg.max_iters is 'abc', but must be a whole number"),
        # Would train nothing, and say nothing.
        ('train_cfg.max_iters', -5, 'train_cfg.max_iters is -5, but must be a whole number of at'),
        ('train_cfg.max_iters', True, 'train_cfg.max_iters is True, but must be'),
        ('train_cfg.val_interval', 0, 'train_cfg.val_interval is 0, but must be'),
        ('optim_wrapper.optimizer.lr', 'abc', "optimizer.lr is 'abc', but must be a number above"),
        ('optim_wrapper.optimizer.lr', 0, 'optim_wrapper.optimizer.lr is 0, but must be a number'),
        ('auto_scale_lr.base_batch_size', 0, 'auto_scale_lr.base_batch_size is 0, but must be a'),
        # Would end in a traceback.
        ('train_cfg', 5, 'train_cfg is 5, but must be a dict'),
        ('optim_wrapper', [1], 'optim_wrapper is [1], but must be a dict'),
        ('train_dataloader.sampler', 5, 'train_dataloader.sampler is 5, but must be a dict'),
        # Would be found after the burn-in.
        ('model.detector.roi_head.mask_head', {'type': 'FCNMaskHead'}, 'FasterRCNN learns masks'),
        (
            'model.detector.roi_head.type',
            'DynamicRoIHead',
            'model.detector: DynamicRoIHead has a s',
        ),
        ('load_from', ['a', 'b'], "load_from is ['a', 'b'], but must be the file or URL of"),
        *(
            ('train_dataloader.sampler.source_ratio', ratio, f'source_ratio is {ratio}, but must')
            for ratio in (5, None, [], [1], [1, 0], [1, 2.5], [1, 1, 1])
        ),
    ],
)
def test_settings_of_no_sense(setting, value, told, whole):
    cfg = with_settings(whole, {setting: value})
    with pytest.raises(ValueError) as error:
        check_settings_of(cfg)
    assert str(error.value).startswith(f'{whole.filename}: ')
    assert told in str(error.value)


@pytest.mark.parametrize(
    'settings',
    [
        # What mmengine, PyTorch and the hooks know beside what our configs say.
        {'randomness': dict(seed=None, deterministic=True)},
        {'optim_wrapper.clip_grad': dict(type='value', clip_value=1.0)},
        {'optim_wrapper.clip_grad': None},
        {'optim_wrapper.optimizer.lr': 1},
        {'train_dataloader.num_workers': 0, 'train_dataloader.prefetch_factor': None},
        {'val_dataloader': None},
        {'default_hooks.checkpoint': None},
        {'default_hooks.checkpoint.published_keys': ['meta']},
        {'train_cfg': None},
        {'load_from': 'https://here/best.pth'},
        # One data set, and mmdet's sampler, which knows shares.
        {
            'train_dataloader.dataset.datasets': [{}],
            'train_dataloader.sampler.source_ratio': [1],
        },
        {
            'train_dataloader.sampler.type': 'MultiSourceSampler',
            'train_dataloader.sampler.source_ratio': [0.2, 0.8],
        },
    ],
)
def test_settings_that_make_sense(settings, whole):
    check_settings_of(with_settings(whole, settings))


def with_settings(whole, settings):
    cfg = copy.deepcopy(whole)
    for where, value in settings.items():
        *outer, name = where.split('.')
        part = cfg
        for key in outer:
            part = part.setdefault(key, {})
        part[name] = value
    return cfg


@pytest.mark.parametrize(
    ('option', 'told'),
    [
        ('max_iters', 'did you mean train_cfg.max_iters?'),
        ('batch_size', 'did you mean train_dataloader.batch_size?'),
        ('lr', 'did you mean optim_wrapper.optimizer.lr?'),
        ('sampler.source_ratio', 'did you mean train_dataloader.sampler.source_ratio?'),
        # A slip, and by the type as well, and within lists.
        ('trian_cfg.max_iters', 'did you mean train_cfg.max_iters?'),
        ('SummaryHook.num_images', 'did you mean default_hooks.summary.num_images?'),
        ('LinearLR.end', 'did you mean param_scheduler.0.end?'),
        # What the file itself was written with.
        (
            'scenes.train_images',
            'scenes is a variable of the config file, which only the file uses; write the',
        ),
        ('nonsense', 'write the whole key, as in train_cfg.max_iters'),
    ],
)
def test_options_that_nobody_reads(option, told):
    cfg = Config.fromfile('configs/mt_fasterrcnn_digits10pct.py')
    cfg.scenes = dict(train_images=3)
    check_options(cfg, ['train_cfg.max_iters', 'custom_hooks', 'load_from'])
    # The runner's own, which its signature does not name.
    check_options(cfg, ['find_unused_parameters', 'sync_bn', 'model_wrapper_cfg.type', 'compile'])
    with pytest.raises(ValueError) as refused:
        check_options(cfg, ['train_cfg.max_iters', option])
    assert f'digits10pct.py: unknown option {option!r}; {told}' in str(refused.value)
