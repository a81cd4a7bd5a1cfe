"""What studies compare with is mmdet's own, as shipped, on our detector and schedule."""

from pathlib import Path

import pytest
from mmengine.config import Config, ConfigDict
from mmengine.hub import get_config

from ssod.any_detector import QUICKER
from ssod.config_parts import dicts_in
from ssod.studies.plan import read_study

SHIPPED = 'mmdet::soft_teacher/soft-teacher_faster-rcnn_r50-caffe_fpn_180k_semi-0.1-coco.py'


@pytest.fixture(scope='module')
def configs():
    """mmdet's own config, ours of its class, and our mean teacher."""
    return get_config(SHIPPED), *own_configs('small', 'small')


def own_configs(of_study, of_ours):
    """mmdet's Soft Teacher in a study, and our mean teacher."""
    return [
        Config.fromfile(f'{name}.py')
        for name in (
            f'studies/mmdet/softteacher_fasterrcnn_{of_study}',
            f'configs/mt_fasterrcnn_{of_ours}',
        )
    ]


def test_settings_are_those_shipped(configs):
    shipped, soft_teacher, _ = configs
    assert soft_teacher.model.type == 'SoftTeacher'
    for part in ('semi_train_cfg', 'semi_test_cfg'):
        assert soft_teacher.model[part] == shipped.model[part]
    assert soft_teacher.custom_hooks == shipped.custom_hooks
    assert soft_teacher.val_cfg == shipped.val_cfg
    assert soft_teacher.train_dataloader.sampler.type == 'GroupMultiSourceSampler'


@pytest.mark.parametrize('path', sorted(Path('studies').glob('*.py')))
def test_a_study_of_the_house_is_fair(path):
    """All its methods have the baseline's detector, schedule, labelled images and optimizer.

    In some the rate falls for the baseline alone, who averages nothing, and in one rates
    are what is studied.
    """
    study = read_study(path)
    baseline, *others = (Config.fromfile(method.config) for method in study.methods)
    # With what the study sets besides.
    for cfg, method in zip((baseline, *others), study.methods, strict=True):
        cfg.merge_from_dict({**study.settings, **(method.settings or {})})
    labeled = images_of_each_kind(baseline)[0]
    for cfg, method in zip(others, study.methods[1:], strict=True):
        assert detector(cfg) == detector(baseline), method.name
        if 'optim_wrapper.optimizer.lr' in (method.settings or {}):
            assert path.stem == 'photographs_variants'
            cfg.optim_wrapper.optimizer.lr = baseline.optim_wrapper.optimizer.lr
        assert cfg.optim_wrapper == baseline.optim_wrapper, method.name
        assert schedule(cfg)[0] == schedule(baseline)[0], method.name
        assert cfg.train_cfg.max_iters == baseline.train_cfg.max_iters
        assert cfg.val_evaluator.type == baseline.val_evaluator.type, method.name
        assert images_of_each_kind(cfg)[0] == labeled, method.name
    if 'steady' in path.stem:
        last = baseline.train_cfg.max_iters
        assert schedule(baseline)[1] == [None, [last * 5 // 6]]
        baseline, *others = others
        assert schedule(baseline)[1] == [None, [last]]
    for cfg, method in zip(others, study.methods[len(study.methods) - len(others) :], strict=True):
        assert cfg.param_scheduler == baseline.param_scheduler, method.name


def schedule(cfg):
    """The schedules of the rate without when it falls, and when that is."""
    parts = [scheduler.to_dict() for scheduler in cfg.param_scheduler]
    return parts, [part.pop('milestones', None) for part in parts]


def detector(cfg):
    """A detector's config, ours with mmdet's parts where ours give the same numbers."""
    settings = ConfigDict(cfg.model.detector.to_dict())
    theirs = {ours: name for name, ours in QUICKER.items()}
    found = {part.type for part in dicts_in(settings) if part.get('type') in {*QUICKER, *theirs}}
    if cfg.model.detector.type == 'FasterRCNN':
        is_ours = cfg.model.type not in ('SemiBaseDetector', 'SoftTeacher')
        assert found == set(theirs if is_ours else QUICKER)
    for part in dicts_in(settings):
        if part.get('type') in theirs:
            part.type = theirs[part.type]
    return settings.to_dict()


def images_of_each_kind(cfg):
    loader = cfg.train_dataloader
    ratio = loader.sampler.source_ratio
    return [loader.batch_size * share // sum(ratio) for share in ratio]


def resizes(pipeline):
    """A pipeline without how images are resized, and without mmengine's own marks."""
    steps = [{k: v for k, v in step.items() if k != '_scope_'} for step in pipeline]
    return [step for step in steps if 'Resize' not in step['type']]


def test_pipelines_are_those_shipped_but_for_the_size(configs):
    shipped, soft_teacher, _ = configs
    pairs = zip(
        shipped.train_dataloader.dataset.datasets,
        soft_teacher.train_dataloader.dataset.datasets,
        strict=True,
    )
    (labeled, own_labeled), (unlabeled, own_unlabeled) = pairs
    assert resizes(own_labeled.pipeline) == resizes(labeled.pipeline)
    views, own_views = (d.pipeline[2].to_dict() for d in (unlabeled, own_unlabeled))
    for branch in ('unsup_teacher', 'unsup_student'):
        assert resizes(own_views[branch]) == resizes(views[branch])


def test_all_else_is_ours(configs):
    _, soft_teacher, ours = configs
    assert detector(soft_teacher) == detector(ours)
    for part in ('optim_wrapper', 'train_cfg'):
        assert soft_teacher[part] == ours[part]
    assert schedule(soft_teacher)[0] == schedule(ours)[0]
    # As many labelled and unlabelled images in a batch, of the same size.
    assert soft_teacher.train_dataloader.batch_size == ours.train_dataloader.batch_size == 6
    sizes = [cfg.val_dataloader.dataset.pipeline[1].scale for cfg in (soft_teacher, ours)]
    assert sizes == [(256, 256)] * 2


def test_at_the_size_of_coco():
    shipped, (soft_teacher, ours) = get_config(SHIPPED), own_configs('coco', 'coco10pct')
    our_soft_teacher = Config.fromfile('configs/softteacher_fasterrcnn_coco10pct.py')
    semi_base = Config.fromfile('studies/mmdet/semibase_fasterrcnn_coco.py')
    assert (soft_teacher.model.type, semi_base.model.type) == ('SoftTeacher', 'SemiBaseDetector')
    assert soft_teacher.model.semi_train_cfg == shipped.model.semi_train_cfg
    assert detector(soft_teacher) == detector(our_soft_teacher)
    assert detector(semi_base) == detector(ours)
    for cfg in (soft_teacher, semi_base):
        test_pipelines_are_those_shipped_but_for_the_size((shipped, cfg, ours))
        for part in ('optim_wrapper', 'train_cfg', 'param_scheduler'):
            assert cfg[part] == ours[part]
        assert images_of_each_kind(cfg) == images_of_each_kind(ours) == [1, 4]
        # Those of a step are all of one size.
        assert "'RandomResize'" not in str(cfg.train_dataloader)
        assert str(cfg.train_dataloader).count("'scale': (1333, 800)") == 3


def test_tuned_as_ours_are(configs):
    _, shipped, ours = configs
    small = Path('studies/mmdet')
    tuned, semi_base = (
        Config.fromfile(small / f'{name}_fasterrcnn_small_tuned.py')
        for name in ('softteacher', 'semibase')
    )
    # Labelled images are made as large, cut and flipped as ours are; unlabelled ones as shipped.
    labeled, unlabeled = tuned.train_dataloader.dataset.datasets
    views = labeled.pipeline[2:6]
    wanted = ours.train_dataloader.dataset.datasets[0].pipeline[2].transforms
    assert [step.to_dict() for step in views] == [step.to_dict() for step in wanted]
    assert unlabeled == shipped.train_dataloader.dataset.datasets[1]
    recipe = Config.fromfile('configs/softteacher_fasterrcnn_small.py')
    threshold = recipe.model.score_threshold
    for cfg in (tuned, semi_base):
        # Its momentum is what a step brings to the average.
        fast, _, slow = (1 - decay for decay in ours.default_hooks.teacher.decay.decay['values'])
        assert slow < cfg.custom_hooks[0].momentum < fast
        settings = cfg.model.semi_train_cfg
        assert settings.cls_pseudo_thr == threshold
        assert settings.unsup_weight == recipe.model.pseudo_weight.end
        assert cfg.train_dataloader == tuned.train_dataloader
    settings = tuned.model.semi_train_cfg
    assert settings.rpn_pseudo_thr == threshold
    assert settings.reg_pseudo_thr == recipe.model.uncertainty_threshold


def test_boxes_are_as_precise_as_ours():
    """Ours are float32 at mixed precision, and a study may be in bfloat16."""
    for path in sorted(Path('studies/mmdet').glob('*_[cs][om]*.py')):
        assert Config.fromfile(path).default_hooks.places.type == 'PrecisePlacesHook', path
