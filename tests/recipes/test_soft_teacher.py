"""Soft Teacher, against mmdet's own on the same weights, batch and random draws."""

import copy
import weakref

import numpy as np
import pytest
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.config import Config, ConfigDict
from mmengine.hub import get_config
from mmengine.structures import InstanceData

from ssod.data.branches import pop_branch, put_branch
from ssod.data.sampler import DRAW
from ssod.pseudo_labels.selectors import ScoreWeights
from ssod.teachers import EMATeacherHook

SIZE = 96
# Not 0.9 and 0.02: an untrained teacher is neither so certain nor so sure.
FIRST, SURE = 0.12, 0.055
NAMES = {'labeled': 'sup', 'weak': 'unsup_teacher', 'strong': 'unsup_student'}
LOWER = 12
# Flipped and moved down, which is not undone by doing it again.
MOVED = np.array([[-1, 0, SIZE], [0, 1, LOWER], [0, 0, 1]], dtype=np.float32)


def build(certain=0.14, **changes):
    cfg = Config.fromfile('configs/softteacher_fasterrcnn_digits10pct.py').model
    cfg.detector.backbone.norm_eval = True
    cfg.detector.test_cfg.rcnn.score_thr = 0.05
    cfg.update(score_threshold=certain, uncertainty_threshold=SURE)
    cfg.box_jitter.min_score = FIRST
    cfg.pseudo_weight = 4.0
    for name, value in changes.items():
        cfg[name] = value
    torch.manual_seed(0)
    model = MODELS.build(cfg)
    model.init_weights()
    with torch.no_grad():
        for p in model.teacher.parameters():
            p.add_(0.02 * torch.randn_like(p))
    return model.train()


def mmdets(cfg, ours, certain):
    """mmdet's Soft Teacher with the same weights."""
    theirs = MODELS.build(
        dict(
            type='SoftTeacher',
            detector=cfg.detector,
            data_preprocessor=dict(
                type='MultiBranchDataPreprocessor',
                data_preprocessor=cfg.data_preprocessor.data_preprocessor,
            ),
            semi_train_cfg=ConfigDict(
                unsup_weight=4.0,
                pseudo_label_initial_score_thr=FIRST,
                rpn_pseudo_thr=certain,
                cls_pseudo_thr=certain,
                reg_pseudo_thr=SURE,
                jitter_times=10,
                jitter_scale=0.06,
                min_pseudo_bbox_wh=(1, 1),
            ),
            semi_test_cfg=ConfigDict(predict_on='teacher'),
        )
    )
    theirs.load_state_dict(ours.state_dict(), strict=False)
    theirs.train()
    # Mended trap 2: its teacher is in train mode here, as after each call of model.train().
    theirs.teacher.eval()
    return theirs


def sample(boxes, labels, matrix=None):
    shape = (SIZE, SIZE)
    meta = {'img_shape': shape, 'ori_shape': shape, 'img_id': 1, 'scale_factor': (1.0, 1.0)}
    meta['homography_matrix'] = np.eye(3, dtype=np.float32) if matrix is None else matrix
    made = DetDataSample(metainfo=meta)
    made.gt_instances = InstanceData(
        bboxes=torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        labels=torch.tensor(labels).long(),
    )
    made.ignored_instances = InstanceData(bboxes=torch.zeros(0, 4), labels=torch.zeros(0).long())
    return made


def batch():
    """A labelled image, and two unlabelled ones whose strong view is flipped and lower.

    Mended trap 8: boxes that are rotated or sheared are carried otherwise than by mmdet.
    """
    g = torch.Generator().manual_seed(1)
    pictures = [
        torch.randint(0, 256, (3, SIZE, SIZE), generator=g, dtype=torch.uint8) for _ in range(3)
    ]
    return {
        'inputs': {
            'labeled': [pictures[0], None, None],
            'weak': [None, *pictures[1:]],
            'strong': [None, *[p.flip(2).roll(LOWER, 1) for p in pictures[1:]]],
        },
        'data_samples': {
            'labeled': [sample([[4, 4, 30, 40]], [3]), None, None],
            'weak': [None, sample([], []), sample([], [])],
            'strong': [None, sample([], [], MOVED), sample([], [], MOVED)],
        },
    }


def teach(model, data):
    """What the teacher's hook does; returns the strong views' samples."""
    hook = EMATeacherHook(selector=dict(type='ScoreSelector', threshold=FIRST))
    weak, strong = pop_branch(data, 'weak'), pop_branch(data, 'strong')
    hook.set_pseudo_labels(model, weak, strong, *model.teach(weak))
    put_branch(data, 'strong', strong)
    return strong['data_samples']


def losses_of(model, data):
    return model(**model.data_preprocessor(data, True), mode='loss')


# One box for each class, or one for all; with that, the untrained teacher is more certain.
@pytest.mark.parametrize(('agnostic', 'certain'), [(False, 0.135), (True, 0.285)])
def test_equal_to_mmdets_soft_teacher(agnostic, certain):
    cfg = Config.fromfile('configs/softteacher_fasterrcnn_digits10pct.py').model
    cfg.detector.backbone.norm_eval = True
    cfg.detector.test_cfg.rcnn.score_thr = 0.05
    cfg.detector.roi_head.bbox_head.reg_class_agnostic = agnostic
    ours = build(certain, detector=cfg.detector)
    theirs = mmdets(cfg, ours, certain)
    renamed = {k: {NAMES[b]: v for b, v in branches.items()} for k, branches in batch().items()}
    torch.manual_seed(3)
    expected = losses_of(theirs, renamed)

    data = batch()
    # The same draws in the same order: theirs begins with the labelled images.
    torch.manual_seed(3)
    labeled = {k: {'labeled': v['labeled'][:1]} for k, v in copy.deepcopy(data).items()}
    losses_of(ours, labeled)
    strong = teach(ours, data)
    state = torch.get_rng_state()
    lessons = [s.gt_instances for s in strong]
    # Each purpose has boxes of its own.
    scores = torch.cat([lesson.scores for lesson in lessons])
    spread = torch.cat([lesson.uncertainties for lesson in lessons])
    counts = len(scores), int((scores > certain).sum()), int((spread < SURE).sum())
    assert 0 < counts[1] < counts[0]
    assert 0 < counts[2] < counts[0]

    found = ours.data_preprocessor(data, True)
    inputs, views = found['inputs'][1:], found['data_samples']['strong']
    torch.set_rng_state(state)
    features = ours.student.extract_feat(inputs)
    losses = ours.pseudo_loss(features, inputs, views)
    assert {f'unsup_{k}' for k in losses} == {k for k in expected if k.startswith('unsup')}
    for name, value in losses.items():
        other = expected[f'unsup_{name}']
        values, others = (v if isinstance(v, list) else [v] for v in (value, other))
        for v, o in zip(values, others, strict=True):
            weight = 4 if 'loss' in name else 1
            torch.testing.assert_close(weight * v, o, msg=lambda m, name=name: f'{name}: {m}')
    assert losses['loss_bbox'] > 0


def test_background_counts_as_much_as_the_teacher_says():
    model = build()
    data = batch()
    strong = teach(model, data)
    for image in strong:
        image.gt_instances = image.gt_instances[:0]
    views = model.data_preprocessor(data, True)
    inputs, samples = views['inputs'][1:], views['data_samples']['strong']
    features = model.student.extract_feat(inputs)

    def loss(bias):
        # All regions are background; a teacher of equal opinion on all makes a plain mean of them.
        head = model.teacher.roi_head.bbox_head.fc_cls
        torch.nn.init.zeros_(head.weight)
        head.bias.data[:] = torch.tensor([0.0] * 10 + [bias])
        torch.manual_seed(0)
        once = [sample.new() for sample in samples]
        return model.pseudo_loss(features, inputs, once)['loss_cls'].item()

    assert loss(0.0) == pytest.approx(loss(5.0), rel=1e-4)
    assert loss(0.0) > 0


def test_which_regions_are_drawn_depends_on_the_image_alone():
    model, data = build(), batch()
    teach(model, data)
    views = model.data_preprocessor(data, True)
    inputs, samples = views['inputs'][1:], views['data_samples']['strong']
    features = model.student.extract_feat(inputs)

    def loss(seed):
        torch.manual_seed(seed)
        losses = model.pseudo_loss(features, inputs, [sample.new() for sample in samples])
        return model.parse_losses(losses)[0].item()

    # Without the images' draws a seed decides, with them it does not.
    assert loss(0) != loss(1)
    for number, sample in enumerate(samples):
        sample.set_metainfo({DRAW: (0, 1, number)})
    assert loss(0) == loss(1)


def test_a_consistency_loss_beside_its_own():
    plain, model = build(), build(consistency={})
    losses = {}
    for each in (plain, model):
        data = batch()
        torch.manual_seed(0)
        teach(each, data)
        losses[each] = losses_of(each, data)
    # It has the regions that it asks for, in the strong views, and the others are what they were.
    added = losses[model].keys() - losses[plain].keys()
    assert added == {'consistency_loss_cls', 'consistency_loss_bbox'}
    assert all(losses[model][name] > 0 for name in added)
    for name, value in losses[plain].items():
        assert losses[model][name] == value, name


@pytest.mark.parametrize('kept', ['no region', 'no box', 'one box'])
def test_hardly_anything_to_learn(kept):
    model = build()
    if kept == 'no region':
        # No proposal is so large, and without boxes nothing else is looked at.
        model.student.train_cfg.rpn_proposal.min_bbox_size = 10 * SIZE
    data = batch()
    strong = teach(model, data)
    strong[0].gt_instances = strong[0].gt_instances[: kept == 'one box']
    strong[1].gt_instances = strong[1].gt_instances[:0]
    losses = losses_of(model, data)
    model.parse_losses(losses)[0].backward()
    gradients = {n: p.grad for n, p in model.student.named_parameters() if p.requires_grad}
    # Every parameter takes part, or the other ranks would wait for its gradient.
    assert [n for n, g in gradients.items() if g is None] == []
    assert all(g.isfinite().all() for g in gradients.values())


def test_the_teachers_features_are_gone_before_the_backward_pass():
    model = build()
    data = batch()
    strong = teach(model, data)
    features = [weakref.ref(level) for level in strong[0].weak_view.features]
    assert all(level() is not None for level in features)
    losses = losses_of(model, data)
    assert losses['pseudo_loss_cls'].requires_grad
    assert all(level() is None for level in features)


def test_the_teacher_has_no_gradient():
    model = build()
    data = batch()
    teach(model, data)
    model.parse_losses(losses_of(model, data))[0].backward()
    assert all(p.grad is None for p in model.teacher.parameters())


@pytest.mark.parametrize(
    ('name', 'kind'),
    [
        ('cascade_rcnn/cascade-rcnn_r50_fpn_1x_coco', 'CascadeRCNN'),
        ('retinanet/retinanet_r50_fpn_1x_coco', 'RetinaNet'),
        ('grid_rcnn/grid-rcnn_r50_fpn_gn-head_2x_coco', 'GridRCNN'),
    ],
)
def test_other_detectors_are_refused(name, kind):
    detector = get_config(f'mmdet::{name}.py').model
    detector.backbone.init_cfg = None
    message = f'{kind} has no single region head with one softmax; use Faster R-CNN, or another rec'
    with pytest.raises(ValueError, match=message):
        build(detector=detector)


def test_resizing_of_whole_batches_is_refused():
    """The teacher would judge the student's regions in other places."""
    cfg = Config.fromfile('configs/softteacher_fasterrcnn_digits10pct.py').model
    cfg.data_preprocessor.data_preprocessor.batch_augments = [
        dict(type='BatchSyncRandomResize', random_size_range=(64, 96))
    ]
    with pytest.raises(ValueError, match='BatchSyncRandomResize in .*; remove it, or use Semi'):
        build(data_preprocessor=cfg.data_preprocessor)


@pytest.mark.parametrize(
    ('setting', 'value', 'wanted'),
    [
        ('score_threshold', 90.0, r'in \[0, 1\]'),
        ('score_threshold', -0.1, r'in \[0, 1\]'),
        ('uncertainty_threshold', 0.0, 'above 0'),
    ],
)
def test_impossible_thresholds_are_refused(setting, value, wanted):
    with pytest.raises(ValueError, match=f'{setting} is {value}, but must be {wanted}'):
        build(**{setting: value})


def test_weights_of_boxes_which_its_loss_does_not_know_are_refused():
    with pytest.raises(
        ValueError, match='loss of SoftTeacherDetector cannot weight boxes; use a sel'
    ):
        ScoreWeights().check(build(), 3)
