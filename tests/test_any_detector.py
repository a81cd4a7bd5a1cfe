"""Every family of detectors as student and teacher, and configs made of mmdet's."""

import re
from pathlib import Path

import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner

from ssod import runs
from ssod.any_detector import use_detector
from ssod.checkpoints import load_checkpoint
from ssod.checks.settings import check_settings_of
from ssod.precision import use_amp

CONFIG = Path(__file__).parents[1] / 'configs/mt_any_coco10pct.py'
# Of each family its config, and where its classifiers (and what multiplies their scores) have
# their biases.
FAMILIES = {
    'faster_rcnn/faster-rcnn_r50_fpn_1x_coco': r'bbox_head\.fc_cls',
    'cascade_rcnn/cascade-rcnn_r50_fpn_1x_coco': r'bbox_head\.\d\.fc_cls',
    'retinanet/retinanet_r50_fpn_1x_coco': r'retina_cls',
    'fcos/fcos_r50-caffe_fpn_gn-head_1x_coco': r'conv_cls|conv_centerness',
    'atss/atss_r50_fpn_1x_coco': r'atss_cls|atss_centerness',
    'gfl/gfl_r50_fpn_1x_coco': r'gfl_cls',
    'tood/tood_r50_fpn_1x_coco': r'tood_cls|cls_prob_module\.2',
    'rtmdet/rtmdet_tiny_8xb32-300e_coco': r'rtm_cls\.\d',
    'yolox/yolox_tiny_8xb8-300e_coco': r'multi_level_conv_(cls|obj)\.\d',
    'deformable_detr/deformable-detr_r50_16xb2-50e_coco': r'cls_branches\.\d',
    'dino/dino-4scale_r50_8xb2-12e_coco': r'cls_branches\.\d',
}
CLASS = 3
NARROW = {'embed_dims': 64, 'feedforward_channels': 64, 'num_feats': 32, 'fc_out_channels': 32}
NARROW |= {'feat_channels': 64, 'num_layers': 2, 'num_queries': 20, 'widen_factor': 0.125}
NARROW |= {'max_per_img': 50, 'stacked_convs': 1, 'deepen_factor': 0.167}


def shrink(part):
    """A detector's config with the same parts, but for seconds on two cores."""
    if isinstance(part, list):
        for inner in part:
            shrink(inner)
    if not isinstance(part, dict):
        return
    part.pop('init_cfg', None)
    for key, value in part.items():
        if key in ('in_channels', 'out_channels'):
            many = isinstance(value, list)
            part[key] = [max(16, c // 16) for c in value] if many else 64
        elif key in NARROW:
            part[key] = NARROW[key]
        shrink(value)
    if part.get('type') == 'ResNet':
        part.update(depth=18, base_channels=16)
        # Its own normalization, as it has no pretrained one here.
        part.update(norm_cfg=dict(type='BN'), frozen_stages=-1)
    if part.get('type', '').endswith('DETRHead') or part.get('type') == 'DINOHead':
        part['embed_dims'] = 64
    if part.get('type', '').endswith('PAFPN'):
        part['in_channels'] = [32, 64, 128]


@pytest.fixture
def family_cfg(digits_cfg, name):
    """The digits example with the detector of a family."""
    # The fixture's validation is put aside.
    for part in ('cfg', 'dataloader', 'evaluator'):
        digits_cfg[f'val_{part}'] = digits_cfg[f'test_{part}'] = digits_cfg[f'kept_{part}']
    use_detector(digits_cfg, f'mmdet::{name}.py')
    for part in ('cfg', 'dataloader', 'evaluator'):
        digits_cfg.pop(f'val_{part}')
        digits_cfg.pop(f'test_{part}')
    shrink(digits_cfg.model.detector)
    digits_cfg.model.consistency = None
    # One that warms up would begin as a copy of the student.
    digits_cfg.default_hooks.teacher.decay = 0.9
    digits_cfg.default_hooks.teacher.selector.threshold *= 0.9
    return digits_cfg


def make_confident(teacher, pattern):
    """Let the teacher see class 3 everywhere."""
    named = dict(teacher.named_parameters())
    biases = [p for n, p in named.items() if re.search(rf'({pattern})\.bias$', n)]
    assert biases
    # One kind of head begins with boxes of no size.
    for name, sizes in named.items():
        if re.search(r'rtm_reg\.\d\.bias$', name):
            sizes.data.fill_(1.0)
    for bias in biases:
        # Several anchors in a row have ten classes each, a softmax one more, a quality just itself.
        classes = torch.arange(len(bias)) % 10 if len(bias) >= 10 else torch.full((1,), CLASS)
        bias.data.copy_(torch.where(classes == CLASS, 8.0, -8.0))


class Lessons(Hook):
    """Begins with a confident teacher and sees what the other hooks do."""

    priority = 'LOWEST'

    def __init__(self, biases):
        self.biases = biases

    def before_train(self, runner):
        make_confident(runner.model.teacher, self.biases)

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        strong = data_batch['data_samples']['strong']
        self.labels = torch.cat([s.gt_instances.labels for s in strong])
        self.teacher = {k: v.clone() for k, v in runner.model.teacher.state_dict().items()}
        self.batch = data_batch

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.losses = {k: v for k, v in outputs.items() if 'loss' in k}


def pseudo_gradients(model, batch):
    """Gradients of the pseudo-label losses alone."""
    losses = model(**model.data_preprocessor(batch, True), mode='loss')
    pseudo = {k: v for k, v in losses.items() if k.startswith('pseudo') and 'loss' in k}
    model.zero_grad()
    model.parse_losses(pseudo)[0].backward()
    return [p.grad.norm() for p in model.student.parameters() if p.grad is not None]


def without_boxes(model, batch):
    """Names of parameters that take no part where there is nothing to learn; losses are finite."""
    for sample in batch['data_samples']['strong']:
        sample.gt_instances = sample.gt_instances[:0]
    losses = model(**model.data_preprocessor(batch, True), mode='loss')
    model.zero_grad()
    loss = model.parse_losses(losses)[0]
    assert torch.isfinite(loss)
    loss.backward()
    named = model.student.named_parameters()
    return [name for name, p in named if p.requires_grad and p.grad is None]


@pytest.mark.parametrize('name', FAMILIES)
def test_a_mean_teacher_of_every_family(family_cfg, name):
    lessons = Lessons(FAMILIES[name])
    runner = Runner.from_cfg(family_cfg)
    runner.register_hook(lessons)
    runner.train()
    model = runner.model
    assert len(lessons.labels) > 0
    assert (lessons.labels == CLASS).all()
    assert all(torch.isfinite(v) for v in lessons.losses.values())
    assert any(v > 0 for k, v in lessons.losses.items() if k.startswith('pseudo'))
    # The exact average, buffers included.
    decay = runner.message_hub.get_scalar('train/decay').current()
    student, teacher = model.student.state_dict(), model.teacher.state_dict()
    for key, before in lessons.teacher.items():
        if before.is_floating_point():
            after = torch.lerp(before, student[key], 1 - decay)
            torch.testing.assert_close(teacher[key], after, rtol=0, atol=0, msg=key)
        else:
            assert torch.equal(teacher[key], student[key])
    assert sum(g > 0 for g in pseudo_gradients(model, lessons.batch)) > 10
    # Trap: a parameter that takes no part on one rank leaves the others waiting for its gradient.
    assert without_boxes(model, lessons.batch) == []
    # Resumed after the first step it comes to the same.
    first, second = (f'{family_cfg.work_dir}/iter_{n}.pth' for n in (1, 2))
    wanted = load_checkpoint(second)['state_dict']
    family_cfg.update(resume=True, load_from=first)
    family_cfg.visualizer.name += 'again'
    again = Runner.from_cfg(family_cfg)
    again.train()
    found = again.model.state_dict()
    assert [k for k, v in wanted.items() if not torch.equal(found[k], v)] == []


@pytest.mark.parametrize('name', FAMILIES)
def test_places_in_bfloat16(family_cfg, name):
    """Boxes near pixel 1000 lie between the multiples of 4 that bfloat16 knows there."""
    use_amp(family_cfg)
    runner = Runner.from_cfg(family_cfg)
    torch.manual_seed(0)
    teacher = runner.model.eval().teacher
    if name.startswith(('deformable_detr', 'dino')):
        # Some of their parameters hold whatever was in memory until then.
        teacher.init_weights()
    make_confident(teacher, FAMILIES[name])
    for part, values in teacher.named_parameters():
        # All boxes of some heads begin in a few places.
        if re.search('reg_branches|rtm_reg', part):
            torch.nn.init.normal_(values, std=0.1)
    shape = (64, 1280)
    wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    meta = dict(img_shape=shape, batch_input_shape=shape, pad_shape=shape, scale_factor=(1.0, 1.0))
    with torch.no_grad(), wrapper.optim_context(runner.model):
        (found,) = teacher.predict(
            torch.randn(1, 3, *shape), [DetDataSample(metainfo=meta)], rescale=False
        )
    boxes = found.pred_instances.bboxes
    assert boxes.dtype == torch.float32
    far = boxes[(boxes > 512) & (boxes < 1280)]
    assert len(far) > 10
    assert (far != far.bfloat16()).float().mean() > 0.5


@pytest.fixture
def coco_cfg():
    return Config.fromfile(CONFIG)


@pytest.mark.parametrize(
    ('name', 'rate', 'threshold', 'size'),
    [
        # 8 labelled images at a step instead of 16.
        ('faster_rcnn/faster-rcnn_r50_fpn_1x_coco', 0.01, 0.7, (1333, 800)),
        ('cascade_rcnn/cascade-rcnn_r50_fpn_1x_coco', 0.01, 0.7, (1333, 800)),
        ('retinanet/retinanet_r50_fpn_1x_coco', 0.005, 0.4, (1333, 800)),
        # Of 64, and smaller images.
        ('yolox/yolox_tiny_8xb8-300e_coco', 0.00125, 0.4, (416, 416)),
        # AdamW: the root of 8 / 256, although the config claims to be for 16; and of 8 / 32.
        ('rtmdet/rtmdet_tiny_8xb32-300e_coco', 0.004 / 32**0.5, 0.4, (640, 640)),
        ('deformable_detr/deformable-detr_r50_16xb2-50e_coco', 0.0001, 0.4, (1333, 800)),
        # Of 8 and of 16 images, as their names say, while both have a default of 16.
        ('retinanet/retinanet_r18_fpn_1xb8-1x_coco', 0.005, 0.4, (1333, 800)),
        ('foveabox/fovea_r50_fpn_4xb4-1x_coco', 0.005, 0.4, (1333, 800)),
    ],
)
def test_what_comes_with_the_detector(coco_cfg, name, rate, threshold, size):
    use_detector(coco_cfg, f'mmdet::{name}.py')
    assert coco_cfg.optim_wrapper.optimizer.lr == pytest.approx(rate)
    selector = coco_cfg.default_hooks.teacher.selector
    assert selector == dict(type='ScoreSelector', threshold=threshold)
    pipelines = [coco_cfg[f'{part}_dataloader'].dataset.pipeline for part in ('val', 'test')]
    assert [p[1].scale for p in pipelines] == [size] * 2
    labeled, unlabeled = coco_cfg.train_dataloader.dataset.datasets
    views = [labeled.pipeline[-1].transforms, unlabeled.pipeline[-1].weak]
    views.append(unlabeled.pipeline[-1].strong)
    # Half of the size to one and a half.
    scales = [(size[0], size[1] // 2), (size[0], size[1] * 3 // 2)]
    assert [[tuple(s) for s in view[0].scale] for view in views] == [scales] * 3


@pytest.mark.parametrize(
    ('name', 'kept'),
    [
        ('faster_rcnn/faster-rcnn_r50_fpn_1x_coco', True),
        # Those of Faster R-CNN's regions would be all of its losses; it has none of the names.
        ('retinanet/retinanet_r50_fpn_1x_coco', False),
        ('cascade_rcnn/cascade-rcnn_r50_fpn_1x_coco', False),
    ],
)
def test_factors_of_losses_stay_for_a_faster_rcnn(name, kept):
    cfg = Config.fromfile('configs/mt_fasterrcnn_small.py')
    use_detector(cfg, f'mmdet::{name}.py')
    assert ('pseudo_factors' in cfg.model) is kept


@pytest.mark.parametrize(
    ('name', 'unused'),
    [
        # The last convolution of its backbone, for which ranks would wait.
        ('yolo/yolov3_mobilenetv2_8xb24-320-300e_coco', True),
        # What says where boxes are, in a batch without any.
        ('foveabox/fovea_r50_fpn_4xb4-1x_coco', True),
        ('yolof/yolof_r50-c5_8xb8-1x_coco', True),
        ('grid_rcnn/grid-rcnn_r50_fpn_gn-head_1x_coco', True),
        ('yolox/yolox_tiny_8xb8-300e_coco', False),
    ],
)
def test_ranks_know_of_parameters_that_take_no_part(name, unused, monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    cfg = runs.load_config(CONFIG, launcher='pytorch', detector=f'mmdet::{name}.py')
    # Of these mmengine reads the first on GPUs alone.
    assert cfg.get('find_unused_parameters', False) is unused
    assert cfg.model_wrapper_cfg.find_unused_parameters is unused


def test_the_number_of_classes_is_the_data_sets(coco_cfg):
    coco_cfg.train_dataloader.dataset.datasets[0].metainfo = dict(classes=('cat', 'dog'))
    use_detector(coco_cfg, 'mmdet::cascade_rcnn/cascade-rcnn_r50_fpn_1x_coco.py')
    heads = coco_cfg.model.detector.roi_head.bbox_head
    assert [head.num_classes for head in heads] == [2, 2, 2]


@pytest.mark.parametrize(
    ('name', 'message'),
    [
        ('mmdet::yolox/none.py', r'config mmdet::yolox/none\.py does not exist'),
        ('none.py', r"config none\.py does not exist; mmdet's own start with mmdet::"),
        ('mmde::yolox/none.py', ": 'mmde' is not installed; mmdet's own start with mmdet::"),
        ('::none.py', ": '' is not installed"),
        ('torch::none.py', r'config torch::none\.py does not exist: .* package'),
        (
            'mmdet::glip/glip_atss_swin-t_a_fpn_dyhead_16xb2_ms-2x_funtune_coco.py',
            'GLIP takes a text',
        ),
        ('mmdet::lad/lad_r50-paa-r101_fpn_2xb8_coco_1x.py', 'LAD has a teacher of its own'),
        (
            'mmdet::ld/ld_r18-gflv1-r101_fpn_1x_coco.py',
            'KnowledgeDistillationSingleStageDetector has a teacher of its own',
        ),
        ('configs/_base_/models/mt_fcos_digits.py', 'has no train_dataloader; give the complete'),
        ('mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py', 'MaskRCNN learns masks'),
        (
            'mmdet::soft_teacher/soft-teacher_faster-rcnn_r50-caffe_fpn_180k_semi-0.1-coco.py',
            'SoftTeacher wraps another detector; give the config of that one',
        ),
        (
            'mmdet::tridentnet/tridentnet_r50-caffe_1x_coco.py',
            'TridentFasterRCNN makes three sets of features',
        ),
        (
            'mmdet::guided_anchoring/ga-retinanet_r50_fpn_1x_coco.py',
            'GARetinaHead predicts on one image at a time',
        ),
        ('mmdet::mask2former/mask2former_r50_8xb2-lsj-50e_coco.py', 'Mask2Former learns masks'),
        ('mmdet::rtmdet/rtmdet-ins_tiny_8xb32-300e_coco.py', 'RTMDet learns masks'),
        ('mmdet::rpn/rpn_r50_fpn_1x_coco.py', 'RPN predicts no classes; use a complete detector'),
        ('mmdet::cascade_rpn/cascade-rpn_r50-caffe_fpn_1x_coco.py', 'RPN predicts no classes'),
        (
            'mmdet::fast_rcnn/fast-rcnn_r50_fpn_1x_coco.py',
            'FastRCNN reads its proposals from a file',
        ),
        ('mmdet::crowddet/crowddet-rcnn_r50_fpn_8xb2-30e_crowdhuman.py', 'CrowdDet learns several'),
        (
            'mmdet::dynamic_rcnn/dynamic-rcnn_r50_fpn_1x_coco.py',
            'DynamicRoIHead has a state that no',
        ),
        ('mmdet::ssd/ssd300_coco.py', "SSDHead fails in mmdet's own predictions"),
        ('mmdet::reid/reid_r50_8xb32-6e_mot17train80_test-mot17val20.py', 'does not detect'),
    ],
)
def test_what_cannot_be_taught_is_refused(coco_cfg, name, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        use_detector(coco_cfg, name)


def test_files_of_a_config_that_cannot_be_used(coco_cfg, tmp_path):
    file = tmp_path / 'mine.py'
    file.write_text('model = dict(type="x"')
    with pytest.raises(ValueError, match=r'mine\.py, or one that it is based on: .* in line 1'):
        use_detector(coco_cfg, str(file))
    file.write_text(
        'from mmdet.models import RetinaNet\n'
        'model = dict(type=RetinaNet)\n'
        'train_dataloader = optim_wrapper = test_dataloader = dict()\n'
    )
    with pytest.raises(ValueError, match='its types are classes'):
        use_detector(coco_cfg, str(file))


@pytest.mark.parametrize(
    ('name', 'threshold'),
    [
        # What the head's class says where the config does not.
        ('mmdet::free_anchor/freeanchor_r50_fpn_1x_coco.py', 0.4),
        ('mmdet::autoassign/autoassign_r50-caffe_fpn_1x_coco.py', 0.4),
        ('mmdet::gfl/gfl_r50_fpn_1x_coco.py', 0.4),
        ('mmdet::detr/detr_r50_8xb2-150e_coco.py', 0.7),
        ('mmdet::cascade_rcnn/cascade-rcnn_r50_fpn_1x_coco.py', 0.7),
    ],
)
def test_thresholds_suit_the_kind_of_scores(coco_cfg, name, threshold):
    use_detector(coco_cfg, name)
    assert coco_cfg.default_hooks.teacher.selector.threshold == threshold


@pytest.mark.parametrize('recipe', ['softteacher', 'stac', 'mixpl'])
def test_a_recipe_keeps_its_selector_where_scores_are_of_the_same_kind(recipe):
    cfg = Config.fromfile(f'configs/{recipe}_fasterrcnn_coco10pct.py')
    selector = cfg.default_hooks.teacher.selector.copy()
    clipping = cfg.optim_wrapper.get('clip_grad')
    use_detector(cfg, 'mmdet::faster_rcnn/faster-rcnn_r101_fpn_1x_coco.py')
    assert cfg.default_hooks.teacher.selector == selector
    assert cfg.optim_wrapper.get('clip_grad') == clipping


def test_settings_of_mixed_precision_stay_behind(coco_cfg):
    use_detector(coco_cfg, 'mmdet::yolo/yolov3_d53_8xb8-amp-ms-608-273e_coco.py')
    assert set(coco_cfg.optim_wrapper) == {'type', 'optimizer', 'clip_grad'}
    check_settings_of(coco_cfg)


def test_an_optimizer_wrapper_without_a_type(coco_cfg):
    del coco_cfg.optim_wrapper['type']
    use_detector(coco_cfg, 'mmdet::yolo/yolov3_d53_8xb8-amp-ms-608-273e_coco.py')
    assert coco_cfg.optim_wrapper.type == 'OptimWrapper'


def test_the_work_directory_names_the_detector_and_options_win():
    cfg = runs.load_config(
        CONFIG,
        options={'optim_wrapper.optimizer.lr': 0.5},
        detector='mmdet::retinanet/retinanet_r50_fpn_1x_coco.py',
    )
    assert cfg.work_dir == 'work_dirs/mt_any_coco10pct-retinanet_r50_fpn_1x_coco'
    assert cfg.optim_wrapper.optimizer.lr == 0.5
