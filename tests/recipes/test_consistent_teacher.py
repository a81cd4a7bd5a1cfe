"""Consistent-Teacher as a whole: its pseudo-losses, a run that is resumed, its configs."""

import copy
from types import SimpleNamespace

import pytest
import torch
from mmdet.registry import MODELS, TASK_UTILS
from mmengine.config import Config
from mmengine.runner import Runner

from ssod.checkpoints import load_checkpoint
from ssod.pseudo_labels import ExpectedCountSelector, PeakMixtureSelector

CONFIG = 'configs/consistentteacher_retinanet_digits10pct.py'


def consistent_model(**changes):
    model = Config.fromfile(CONFIG).model
    for name, value in changes.items():
        model[name] = value
    return MODELS.build(model)


@pytest.mark.parametrize(
    ('counts', 'factor'),
    [([0], 0.01), ([1], 1), ([0, 0, 3], 0.01), ([0, 2], 1), ([0, 0, 1, 1], 1), ([1, 2], 1)],
)
def test_little_is_learnt_where_most_is_background(counts, factor):
    model = consistent_model()
    model.student_loss = lambda *_: dict(loss_cls=torch.tensor(3.0), loss_bbox=torch.tensor(2.0))
    strong = [SimpleNamespace(gt_instances=[None] * count) for count in counts]
    got = model.pseudo_loss((), torch.zeros(1), strong)
    assert {k: v.item() for k, v in got.items()} == pytest.approx(
        dict(loss_cls=3 * factor, loss_bbox=2 * factor)
    )


def test_another_head_is_refused():
    detector = Config.fromfile('configs/mt_fasterrcnn_digits10pct.py').model.detector
    with pytest.raises(ValueError, match='FasterRCNN has no FAM3DHead.*a RetinaNet with') as error:
        consistent_model(detector=detector)
    assert '\n' not in str(error.value)
    with pytest.raises(ValueError, match="ConsistentTeacher: .*'background_weight'"):
        consistent_model(backgroundweight=1.0)
    with pytest.raises(ValueError, match='background_weight is -1.0, but must be at least 0'):
        consistent_model(background_weight=-1.0)


@pytest.fixture
def cfg(digits_cfg):
    """The recipe on the small scenes: a teacher that finds boxes at once, and short queues."""
    own = Config.fromfile(CONFIG)
    digits_cfg.model = own.model
    digits_cfg.model.detector.backbone.norm_eval = True
    digits_cfg.model.detector.test_cfg.score_thr = 0.001
    teacher = own.default_hooks.teacher
    teacher.update(burn_in=0)
    teacher.selector.selectors[1].update(length=8, least=2)
    digits_cfg.default_hooks.teacher = teacher
    digits_cfg.train_cfg.max_iters = 3
    digits_cfg.default_hooks.checkpoint.interval = 2
    digits_cfg.randomness = dict(seed=5)
    return digits_cfg


def test_training_and_resuming(cfg):
    resumed = copy.deepcopy(cfg)
    resumed.work_dir += '-resumed'
    resumed.merge_from_dict(dict(resume=True, load_from=f'{cfg.work_dir}/iter_2.pth'))
    ends = []
    for settings in (cfg, resumed):
        Runner.from_cfg(settings).train()
        ends.append(load_checkpoint(f'{settings.work_dir}/iter_3.pth'))
    whole, part = ends
    # Every image gives one box at least, and all queues go on from what the checkpoint holds.
    states = [end['teacher']['selector']['remembers'][1]['remembers'] for end in ends]
    assert states[0]['seen'].sum() >= 3 * 3
    assert states[0].keys() == states[1].keys() >= {'queues', 'seen', 'thresholds', 'fitted_at'}
    for name, value in states[0].items():
        assert torch.equal(torch.as_tensor(value), torch.as_tensor(states[1][name])), name
    middle = load_checkpoint(f'{cfg.work_dir}/iter_2.pth')
    assert (
        0
        < middle['teacher']['selector']['remembers'][1]['remembers']['seen'].sum()
        < states[0]['seen'].sum()
    )
    for name, tensor in whole['state_dict'].items():
        assert torch.equal(tensor, part['state_dict'][name]), name
        assert tensor.isfinite().all(), name
    # Both followed their lessons.
    for name in ('student.bbox_head.offset.weight', 'teacher.bbox_head.classify.weight'):
        assert not torch.equal(whole['state_dict'][name], middle['state_dict'][name])


def test_the_numbers_of_the_paper():
    for name, decay, weight, iters in (
        ('10pct', 0.9995, 2.0, 180000),
        ('full', 0.9998, 3.0, 720000),
    ):
        cfg = Config.fromfile(f'configs/consistentteacher_retinanet_coco{name}.py')
        assert cfg.default_hooks.teacher.decay == dict(type='warm_up', decay=decay)
        assert cfg.default_hooks.teacher.burn_in == 10000
        assert cfg.model.pseudo_weight == 2.0
        assert cfg.model.detector.train_cfg.assigner.iou_weight == weight
        assert cfg.train_cfg.max_iters == iters
        loader = cfg.train_dataloader
        assert (loader.batch_size, loader.sampler.source_ratio) == (5, [1, 4])
        assert cfg.optim_wrapper.optimizer.lr == 0.01
        assert cfg.optim_wrapper.clip_grad.max_norm == 20
        # The strong view moves the image; the teacher's does not.
        strong, weak = (loader.dataset.datasets[1].pipeline[1][view] for view in ('strong', 'weak'))
        assert 'Rotate' in str(strong)
        assert 'Rotate' not in str(weak)
        chain = TASK_UTILS.build(cfg.default_hooks.teacher.selector)
        assert [type(s) for s in chain.selectors] == [ExpectedCountSelector, PeakMixtureSelector]
        assert chain.state_dict()[1]['remembers']['queues'].shape == (80, 100)


@pytest.mark.parametrize('percent', ['1', '2', '5', '10'])
def test_the_files_of_a_percentage(percent):
    cfg = Config.fromfile(f'configs/consistentteacher_retinanet_coco{percent.zfill(2)}pct.py')
    split = f'annotations/semi_supervised/instances_train2017.1@{percent}'
    files = [part.ann_file for part in cfg.train_dataloader.dataset.datasets]
    assert files == [split + '.json', split + '-unlabeled.json']
