"""Every config of the house loads and builds, and a misspelt setting of ours does not."""

import copy
import random
import re
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from mmdet.registry import (
    DATA_SAMPLERS,
    DATASETS,
    HOOKS,
    LOOPS,
    METRICS,
    MODELS,
    PARAM_SCHEDULERS,
    TRANSFORMS,
)
from mmengine.config import Config
from mmengine.runner import Runner

from ssod.models import SemiSupervisedDetector
from ssod.teachers import TeacherHook

CONFIGS = Path(__file__).parents[1] / 'configs'
LEAVES = sorted(path.name for path in CONFIGS.glob('*.py'))


@cache
def loaded(name):
    """A config of the house; to read one takes as long as to build it."""
    return Config.fromfile(CONFIGS / name)


def load(name):
    return copy.deepcopy(loaded(name))


class Sources:
    """As much of a ``ConcatDataset`` as a sampler asks for: ten images of each source."""

    def __init__(self, number):
        self.cumulative_sizes = [10 * (i + 1) for i in range(number)]

    def __len__(self):
        return self.cumulative_sizes[-1]


def build_dataset(setting, folder):
    """A data set with its pipeline; its annotations are not read yet."""
    setting = setting.copy()
    setting.lazy_init = True
    if setting.type == 'DigitsDataset':
        # Made on first use, so elsewhere and few of them.
        setting.update(data_root=folder, scenes=dict(train_images=10, val_images=1))
    return DATASETS.build(setting)


def differs_in_files_alone(name):
    """Whether a percentage's config is the 10 % one with other annotation files."""
    found = re.search(r'_coco0([125])pct\.py$', name)
    if found is None:
        return False
    ten = load(name.replace(found[0], '_coco10pct.py')).to_dict()
    own = load(name).to_dict()
    images = repr(own['train_dataloader']).replace(f'train2017.1@{found[1]}', 'train2017.1@10')
    parts = own.keys() - {'split', 'labeled', 'unlabeled', 'sources', 'train_dataloader'}
    same = all(own[part] == ten.get(part) for part in parts)
    return same and images == repr(ten['train_dataloader'])


def test_there_are_configs():
    # A glob that finds nothing would let all other tests here pass.
    assert 'mt_fasterrcnn_digits10pct.py' in LEAVES
    assert len(LEAVES) >= 10


@pytest.mark.parametrize('name', LEAVES)
def test_a_leaf_is_short(name):
    assert len((CONFIGS / name).read_text(encoding='utf-8').splitlines()) <= 30


@pytest.mark.parametrize('name', LEAVES)
def test_the_runner_of_a_config_builds(name, tmp_path):
    # The model and the hooks too. Nothing is downloaded: weights are fetched when they are needed.
    if differs_in_files_alone(name):
        # Then the runner is that of the 10 % config, which is built in its turn.
        return
    cfg = load(name)
    cfg.work_dir = str(tmp_path)
    # With this alone, mmdet's own tools run the config.
    assert cfg.custom_imports.imports == ['ssod']
    runner = Runner.from_cfg(cfg)
    assert isinstance(runner.model, SemiSupervisedDetector)
    assert sum(isinstance(hook, TeacherHook) for hook in runner.hooks) == 1
    optimizer = runner.build_optim_wrapper(runner.optim_wrapper).optimizer
    for scheduler in cfg.param_scheduler:
        PARAM_SCHEDULERS.build(dict(scheduler, optimizer=optimizer))
    for loop in (cfg.train_cfg, cfg.val_cfg, cfg.test_cfg):
        assert LOOPS.get(loop.type) is not None, loop.type
    for evaluator in (cfg.val_evaluator, cfg.test_evaluator):
        assert METRICS.get(evaluator.type) is not None, evaluator.type


@pytest.mark.parametrize('name', LEAVES)
def test_the_data_of_a_config_build(name, tmp_path):
    if differs_in_files_alone(name):
        return
    cfg = load(name)
    loader = cfg.train_dataloader
    settings = loader.dataset.datasets
    sampler = DATA_SAMPLERS.build(dict(loader.sampler, dataset=Sources(len(settings)), seed=0))
    sampler.use_batch_size(loader.batch_size)
    for split in ('val', 'test'):
        setting = cfg[f'{split}_dataloader'].dataset
        settings.append(setting)
        # One file tells which images there are and what is right.
        assert cfg[f'{split}_evaluator'].ann_file == setting.data_root + setting.ann_file
    detector = cfg.model.detector
    head = detector.roi_head.bbox_head if 'roi_head' in detector else detector.bbox_head
    for setting in settings:
        dataset = build_dataset(setting, tmp_path / 'digits')
        assert len(dataset.metainfo['classes']) == head.num_classes


@pytest.mark.parametrize('name', LEAVES)
def test_the_schedule_of_a_config_fits(name):
    cfg = load(name)
    end = cfg.train_cfg.max_iters
    assert end % cfg.train_cfg.val_interval == 0
    assert all(step < end for s in cfg.param_scheduler for step in s.get('milestones', []))
    # A checkpoint and a validation of the same iteration, so that each checkpoint has its score.
    assert end % cfg.default_hooks.checkpoint.interval == 0


def test_what_differs_in_files_alone():
    # Dense Teacher weighs its classes otherwise with 1 %.
    names = [f'{n}_coco01pct.py' for n in ('mt_fasterrcnn', 'unbiasedteacher_fasterrcnn')]
    assert all(differs_in_files_alone(name) for name in names)
    others = ['denseteacher_fcos_coco01pct.py', 'mt_fasterrcnn_coco10pct.py', 'mt_any_coco10pct.py']
    assert not any(differs_in_files_alone(name) for name in others)


@pytest.mark.parametrize(
    ('name', 'percent'),
    [('coco01pct', '1'), ('coco02pct', '2'), ('coco05pct', '5'), ('coco10pct', '10')],
)
def test_the_files_of_a_percentage(name, percent):
    cfg = load(f'mt_fasterrcnn_{name}.py')
    labeled, unlabeled = cfg.train_dataloader.dataset.datasets
    split = f'annotations/semi_supervised/instances_train2017.1@{percent}'
    assert labeled.ann_file == split + '.json'
    assert unlabeled.ann_file == split + '-unlabeled.json'
    # Trap: mmdet drops images without objects by default, but they count.
    assert not labeled.filter_cfg.filter_empty_gt
    assert not unlabeled.filter_cfg.filter_empty_gt


@pytest.mark.parametrize('name', LEAVES)
def test_the_batch_of_the_learning_rate_is_the_configs(name):
    # On one device, or on the eight that the configs for COCO are for.
    cfg = load(name)
    devices = 8 if re.search(r'_coco(\d+pct|full)', name) else 1
    assert cfg.auto_scale_lr.base_batch_size == devices * cfg.train_dataloader.batch_size


@pytest.mark.parametrize(
    ('name', 'gpus', 'images'),
    [
        # 8 × (1 + 4), the recipe.
        ('mt_fasterrcnn_coco10pct', 8, 40),
        # 8 × (4 + 4): as much faster as the batch is larger.
        ('mt_fasterrcnn_cocofull', 8, 64),
    ],
)
def test_the_learning_rate_is_for_the_batch(name, gpus, images):
    cfg = load(f'{name}.py')
    assert gpus * cfg.train_dataloader.batch_size == images
    assert cfg.auto_scale_lr.base_batch_size == images
    assert cfg.optim_wrapper.optimizer.lr == pytest.approx(0.01 * images / 40)


def test_the_neck_fits_a_torchvision_backbone():
    cfg = load('mt_fasterrcnn_mobilenetv2_coco10pct.py')
    backbone = MODELS.build(cfg.model.detector.backbone)
    assert tuple(cfg.model.detector.neck.in_channels) == backbone.out_channels
    # torchvision's own normalization, RGB times 255.
    normalize = cfg.model.data_preprocessor.data_preprocessor
    assert normalize.bgr_to_rgb
    assert normalize.mean == pytest.approx([255 * m for m in (0.485, 0.456, 0.406)])
    assert normalize.std == pytest.approx([255 * s for s in (0.229, 0.224, 0.225)])


@pytest.mark.parametrize(
    ('registry', 'part', 'key', 'message'),
    [
        (HOOKS, 'default_hooks.teacher', 'burnin', "EMATeacherHook: .*'burn_in'"),
        (HOOKS, 'default_hooks.teacher', 'selector.treshold', "ScoreSelector: .*'threshold'"),
        (HOOKS, 'default_hooks.teacher', 'decay.decays', "schedule 'warm_up': .*'decay'"),
        (HOOKS, 'default_hooks.quality', 'annfile', "PseudoLabelQualityHook: .*'ann_file'"),
        (HOOKS, 'default_hooks.watch', 'limits.image', "TeacherWatchHook limits: .*'images'"),
        (HOOKS, 'default_hooks.pretrained', 'x', 'PretrainedDetectorHook: unknown'),
        (HOOKS, 'default_hooks.summary', 'score_threshold', "SummaryHook: .*'score_thr'"),
        (MODELS, 'model', 'pseudo_wieght', "SemiSupervisedDetector: .*'pseudo_weight'"),
        (MODELS, 'model', 'pseudo_weight.step', "schedule 'linear': .*'steps'"),
        (MODELS, 'model', 'consistency.num_region', "Consistency: .*'num_regions'"),
        (MODELS, 'model.data_preprocessor', 'preprocessor', "Preprocessor: .*'data_preprocessor'"),
        (DATA_SAMPLERS, 'train_dataloader.sampler', 'ratio', "RatioSampler: .*'source_ratio'"),
        (DATASETS, 'train_dataloader.dataset.datasets.0', 'anfile', "DigitsDataset: .*'ann_file'"),
        (DATASETS, 'train_dataloader.dataset.datasets.0', 'scenes.sede', "Scenes: .*'seed'"),
        (TRANSFORMS, 'labeled.pipeline.2', 'transform', "LabeledView: .*'transforms'"),
        (TRANSFORMS, 'unlabeled.pipeline.1', 'week', "TwoViews: .*'weak'"),
        (LOOPS, 'val_cfg', 'model', "SemiSupervisedValLoop: .*'models'"),
        (LOOPS, 'test_cfg', 'modles', "SemiSupervisedTestLoop: .*'models'"),
    ],
)
def test_a_misspelt_setting_is_refused(registry, part, key, message):
    cfg = load('mt_fasterrcnn_digits10pct.py')
    cfg.model.update(consistency={}, pseudo_weight=dict(type='linear', end=1.0, steps=1))
    cfg.train_dataloader.dataset.datasets[0].scenes = {}
    cfg.merge_from_dict({f'{part}.{key}': 1})
    for name in part.split('.'):
        cfg = cfg[int(name) if name.isdigit() else name]
    with pytest.raises(ValueError, match=message):
        registry.build(cfg)


@pytest.mark.parametrize('name', ['denseteacher_fcos', 'unbiasedteacher_fasterrcnn'])
def test_three_patches_at_most(name):
    """As in the code of both: each with its own probability, and 5 or 2 to 20 % of the image."""
    sources = load(f'{name}_coco10pct.py').train_dataloader.dataset.datasets
    strong = sources[-1].pipeline[1].strong
    patches = [
        s for s in strong if s.type == 'RandomApply' and s.transforms[0].type == 'RandomErasing'
    ]
    assert [patch.prob for patch in patches] == [0.7, 0.5, 0.3]
    np.random.seed(0)
    for patch, least in zip(patches, (0.05, 0.02, 0.02), strict=True):
        erasing = TRANSFORMS.build(patch.transforms[0])
        drawn = [erasing._get_patches((900, 1200)) for _ in range(300)]
        assert {len(boxes) for boxes in drawn} == {1}
        shares = [(x2 - x1) * (y2 - y1) / (900 * 1200) for ((x1, y1, x2, y2),) in drawn]
        assert least * 0.9 < min(shares) < least * 1.5
        assert 0.15 < max(shares) < 0.21


def test_unbiased_teachers_views_share_their_geometry():
    """As in its code, whose strong view is the weak one in other colours."""
    cfg = load('unbiasedteacher_fasterrcnn_coco10pct.py')
    weak, strong, unlabeled = cfg.train_dataloader.dataset.datasets
    views = unlabeled.pipeline[1]
    assert [step.type for step in views.common] == ['RandomChoiceResize', 'RandomFlip']
    assert min(views.common[0].scales) == (1333, 640)
    assert views.weak == []
    assert not {'RandomResize', 'RandomFlip'} & {step.type for step in views.strong}
    assert weak.pipeline[2].transforms == views.common
    assert strong.pipeline[2].transforms == [*views.common, *views.strong]
    assert cfg.model.detector.train_cfg.rpn.sampler.pos_fraction == 0.25


def test_the_jitter_leaves_channels_in_their_order():
    strong = load('unbiasedteacher_fasterrcnn_coco10pct.py').strong
    jitter = next(step for step in strong if step.type == 'RandomApply').transforms[0]
    unchanged = dict(
        brightness_delta=0, contrast_range=(1, 1), saturation_range=(1, 1), hue_delta=0
    )
    transform = TRANSFORMS.build(dict(jitter, **unchanged))
    image = np.tile(np.array([10, 100, 200], np.uint8), (4, 4, 1))
    for _ in range(20):
        seen = transform({'img': image.copy()})['img']
        np.testing.assert_allclose(seen, image, atol=1)


@pytest.mark.parametrize('recipe', ['softteacher', 'unbiasedteacher', 'mixpl'])
def test_batch_norms_of_a_backbone_are_as_pretrained(recipe):
    """As in the codes of the three: neither statistics nor factors are learnt."""
    backbone = load(f'{recipe}_fasterrcnn_coco10pct.py').model.detector.backbone
    assert backbone.norm_eval
    assert not backbone.norm_cfg.requires_grad


def test_colours_do_not_wrap():
    """What is brighter than white stays bright, though some transforms make bytes of it."""
    cfg = load('unbiasedteacher_fasterrcnn_coco10pct.py')
    steps = cfg.train_dataloader.dataset.datasets[2].pipeline[1].strong
    colours = [TRANSFORMS.build(step) for step in steps if 'RandomErasing' not in str(step)]
    assert len(colours) == 3
    for seed in range(60):
        random.seed(seed)
        np.random.seed(seed)
        results = {'img': np.full((8, 8, 3), 250, np.uint8)}
        for colour in colours:
            results = colour(results)
        # Half the contrast, less the most that brightness takes.
        assert results['img'].min() >= 250 * 0.5 - 32
