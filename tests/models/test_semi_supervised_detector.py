"""The losses of one step, against mmdet's own semi-supervised detector."""

import copy
import math
from functools import partial

import numpy as np
import pytest
import torch
from mmdet.models.task_modules.samplers import RandomSampler
from mmdet.registry import MODELS
from mmengine.config import Config, ConfigDict

from ssod.data.branches import pop_branch
from ssod.models.class_verifier import SURENESS
from ssod.models.features import given_features

from .conftest import batch, build, digits_model, lesson, losses_of, sample

NAMES = {'labeled': 'sup', 'weak': 'unsup_teacher', 'strong': 'unsup_student'}


def test_equal_to_mmdets_semi_base_detector(monkeypatch):
    # We draw in the images in another order.
    monkeypatch.setattr(RandomSampler, 'random_choice', lambda _, gallery, num: gallery[:num])
    cfg = digits_model()
    ours = build(cfg)
    threshold = 0.13
    theirs = MODELS.build(
        dict(
            type='SemiBaseDetector',
            detector=cfg.detector,
            semi_train_cfg=ConfigDict(
                cls_pseudo_thr=threshold, min_pseudo_bbox_wh=(1, 1), unsup_weight=0.5
            ),
            semi_test_cfg=ConfigDict(predict_on='teacher'),
            data_preprocessor=dict(
                type='MultiBranchDataPreprocessor',
                data_preprocessor=cfg.data_preprocessor.data_preprocessor,
            ),
        )
    )
    theirs.load_state_dict(ours.state_dict(), strict=False)
    theirs.train()
    renamed = {k: {NAMES[b]: v for b, v in branches.items()} for k, branches in batch().items()}
    for branches in renamed.values():
        branches['unsup_teacher'] = copy.deepcopy(branches['unsup_teacher'])
    for s in renamed['data_samples']['unsup_teacher'][2:]:
        s.set_metainfo({'homography_matrix': np.eye(3, dtype=np.float32)})
    expected = losses_of(theirs, renamed)

    ours.pseudo_weight = lambda step: 0.5
    data = batch()
    count = lesson(ours, data, threshold)
    assert count > 0
    found = losses_of(ours, data)
    assert {k.replace('pseudo_', 'unsup_') for k in found} == set(expected)
    for name, value in found.items():
        other = expected[name.replace('pseudo_', 'unsup_')]
        values, others = (v if isinstance(v, list) else [v] for v in (value, other))
        for v, o in zip(values, others, strict=True):
            torch.testing.assert_close(v, o, msg=lambda m, name=name: f'{name}: {m}')


def test_the_teacher_sees_weak_views_pixel_by_pixel_on_a_cpu():
    model = build(digits_model())
    orders = []
    model.teacher.backbone.register_forward_pre_hook(
        lambda _, x: orders.append(x[0].is_contiguous(memory_format=torch.channels_last))
    )
    model.teach(pop_branch(batch(), 'weak'))
    assert orders == [True]


def test_the_burn_in_sees_labelled_images_alone():
    model = build(digits_model())
    data = batch()
    del data['inputs']['weak'], data['inputs']['strong']
    del data['data_samples']['weak'], data['data_samples']['strong']
    assert all(name.startswith('sup_') for name in losses_of(model, data))


def test_gradients_reach_the_student_alone():
    model = build(digits_model())
    data = batch()
    lesson(model, data)
    losses = losses_of(model, data)
    total, _ = model.parse_losses({k: v for k, v in losses.items() if k.startswith('pseudo_')})
    total.backward()
    assert all(p.grad is None and not p.requires_grad for p in model.teacher.parameters())
    assert sum(p.grad.abs().sum() for p in model.student.parameters() if p.grad is not None) > 0


@pytest.mark.parametrize('threshold', [1.0, 0.0])
def test_every_parameter_takes_part_with_and_without_pseudo_boxes(threshold):
    # Trap: with no pseudo-box the background loss must not vanish, nor a parameter drop out.
    model = build(digits_model())
    data = batch()
    count = lesson(model, data, threshold)
    assert (count == 0) == (threshold == 1.0)
    losses = losses_of(model, data)
    assert losses['pseudo_loss_cls'] > 0
    total, _ = model.parse_losses(losses)
    total.backward()
    assert torch.isfinite(total)
    assert all(p.grad is not None for p in model.student.parameters() if p.requires_grad)


def test_no_labelled_boxes():
    model = build(digits_model())
    data = batch(boxes=(), labels=())
    lesson(model, data)
    total, _ = model.parse_losses(losses_of(model, data))
    assert torch.isfinite(total)


def test_a_weight_of_zero_leaves_the_loss_out():
    # Trap: 0 * nan is nan. With a weight of 0 nothing of the strong view may enter the sum.
    model = build(digits_model(pseudo_weight=0.0))
    data = batch()
    lesson(model, data)
    data['inputs']['strong'] = [
        None if x is None else torch.full((3, 64, 64), float('nan'))
        for x in data['inputs']['strong']
    ]
    total, _ = model.parse_losses(losses_of(model, data))
    assert torch.isfinite(total)


def test_the_weight_follows_its_schedule():
    model = build(digits_model(pseudo_weight=dict(type='linear', end=4.0, steps=10)))
    data = batch()
    lesson(model, data)
    values = []
    for model.step in (10, 5):
        values.append(losses_of(model, copy.deepcopy(data))['pseudo_loss_cls'].item())
    assert values[0] == pytest.approx(2 * values[1], rel=1e-5)


def test_the_weight_of_the_consistency_loss_has_its_own_schedule():
    # α is 1, 4 and 2 while λ stays 0.5; the distance itself is 1.
    alpha = dict(type='stepwise', values=[1.0, 4.0, 2.0], milestones=[1, 2])
    model = build(digits_model(pseudo_weight=0.5, consistency=dict(weight=alpha)))
    data = batch()
    lesson(model, data)
    model.consistency.loss = lambda *_: {'loss_cls': torch.tensor(1.0)}
    found = []
    for model.step in (0, 1, 2):
        found.append(losses_of(model, copy.deepcopy(data)))
    assert [losses['consistency_loss_cls'].item() for losses in found] == [1, 4, 2]
    # λ's losses know nothing of α.
    assert len({losses['pseudo_loss_cls'].item() for losses in found}) == 1


@pytest.mark.parametrize(
    ('pseudo', 'alpha', 'kinds'),
    [
        (0.0, 1.0, {'sup', 'consistency'}),
        (1.0, 0.0, {'sup', 'pseudo'}),
        (0.0, 0.0, {'sup'}),
        (1.0, 1.0, {'sup', 'pseudo', 'consistency'}),
    ],
)
def test_of_two_weights_the_one_that_is_zero_leaves_its_losses_out(pseudo, alpha, kinds):
    model = build(digits_model(pseudo_weight=pseudo, consistency=dict(weight=alpha)))
    data = batch()
    assert lesson(model, data) > 0
    assert {name.split('_')[0] for name in losses_of(model, data)} == kinds


def test_the_teacher_stays_in_eval_mode():
    # Trap: the loop calls model.train() before every iteration.
    model = build(digits_model())
    model.train()
    assert not any(m.training for m in model.teacher.modules())
    assert model.student.training
    mean = model.teacher.backbone.bn1.running_mean.clone()
    model.teach({k: [x for x in v['weak'] if x is not None] for k, v in batch().items()})
    assert torch.equal(mean, model.teacher.backbone.bn1.running_mean)


@pytest.mark.parametrize('changed', ['student', 'teacher', 'both'])
def test_the_loop_sets_what_others_changed(changed):
    model = build(digits_model())
    for name in ('student', 'teacher') if changed == 'both' else (changed,):
        getattr(model, name).train(name == 'teacher')
    model.train()
    assert model.student.roi_head.bbox_head.training
    assert not any(m.training for m in model.teacher.modules())
    model.eval()
    assert not any(m.training for m in model.modules())


def test_both_start_from_the_same_weights():
    torch.manual_seed(0)
    model = MODELS.build(digits_model())
    model.init_weights()
    for name, tensor in model.student.state_dict().items():
        assert torch.equal(tensor, model.teacher.state_dict()[name]), name


def test_the_verifier_begins_with_the_pretrained_weights_too(tmp_path):
    model, file = digits_model(consistency=dict(), verifier={}), str(tmp_path / 'local.pth')
    torch.manual_seed(7)
    state = MODELS.build(model.detector.backbone).state_dict()
    torch.save(state, file)
    model.detector.backbone.init_cfg = dict(type='Pretrained', checkpoint=file)
    detector = MODELS.build(model)
    assert not torch.equal(detector.verifier.backbone.conv1.weight, state['conv1.weight'])
    detector.init_weights()
    for part in (detector.verifier.backbone, detector.student.backbone, detector.teacher.backbone):
        for name, tensor in part.state_dict().items():
            assert torch.equal(tensor, state[name]), name


def test_predicting_on():
    model = build(digits_model()).eval()
    data = {'inputs': [torch.zeros(3, 64, 64, dtype=torch.uint8)], 'data_samples': [sample([], [])]}

    def scores():
        return model.test_step(copy.deepcopy(data))[0].pred_instances.scores

    teacher = scores()
    with model.predicting_on('student'):
        student = scores()
        assert not torch.equal(teacher, student)
    assert torch.equal(scores(), teacher)
    with pytest.raises(RuntimeError), model.predicting_on('student'):
        raise RuntimeError
    assert model.predict_on == 'teacher'
    with pytest.raises(ValueError, match="must be 'teacher' or 'student'"):
        model.predict_on = 'techer'


@pytest.mark.parametrize(
    ('wrong', 'message'),
    [
        (dict(pseudo_wieght=1.0), "did you mean 'pseudo_weight'"),
        (dict(pseudo_weight=-1), '^pseudo_weight is -1, but'),
        (dict(consistency=dict(weight=-1)), '^consistency: weight is -1, but'),
        (dict(pseudo_factors=dict(loss_cls=-1)), '^pseudo_factors: loss_cls is -1, but'),
        (dict(box_jitter=dict(scale=-0.06)), '^box_jitter: scale is -0.06, but'),
        (dict(box_jitter=dict(min_score=50)), '^box_jitter: min_score is 50, but'),
    ],
)
def test_wrong_settings_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        MODELS.build(digits_model(**wrong))


def test_resizing_of_whole_batches_is_refused_where_the_teacher_judged_regions():
    cfg = digits_model()
    cfg.data_preprocessor.data_preprocessor.batch_augments = [
        dict(type='BatchSyncRandomResize', random_size_range=(64, 96))
    ]
    MODELS.build(cfg)
    cfg.consistency = {}
    with pytest.raises(ValueError, match='remove it, or use .* with consistency=None'):
        MODELS.build(cfg)


def test_given_features_are_forgotten_after_an_error():
    model = build(digits_model())
    with pytest.raises(RuntimeError), given_features(model.student, ()):
        assert model.student.extract_feat(None) == ()
        raise RuntimeError
    assert len(model.student.extract_feat(torch.zeros(1, 3, 64, 64))) == 3


def test_single_pseudo_losses_have_factors():
    data = batch()
    plain = build(digits_model())
    lesson(plain, data)
    expected = losses_of(plain, copy.deepcopy(data))
    model = build(digits_model(pseudo_factors=dict(loss_bbox=0.0, loss_rpn_bbox=0.0, loss_cls=3.0)))
    found = losses_of(model, data)
    # A loss of factor 0 is not there at all: 0 times nan would be nan.
    assert expected.keys() - found.keys() == {'pseudo_loss_bbox', 'pseudo_loss_rpn_bbox'}
    torch.testing.assert_close(found['pseudo_loss_cls'], 3 * expected['pseudo_loss_cls'])
    torch.testing.assert_close(found['pseudo_loss_rpn_cls'], expected['pseudo_loss_rpn_cls'])
    torch.testing.assert_close(found['sup_loss_bbox'], expected['sup_loss_bbox'])


def test_regions_without_a_loss_are_not_looked_at():
    data = batch()
    plain = build(digits_model())
    assert lesson(plain, data) > 0
    expected = losses_of(plain, copy.deepcopy(data))
    model = build(digits_model(pseudo_factors=dict(loss_bbox=0.0, loss_rpn_bbox=3.0, loss_cls=0.0)))
    calls = []
    assigner = model.student.roi_head.bbox_assigner
    assign = assigner.assign
    assigner.assign = lambda *args, **kw: calls.append(1) or assign(*args, **kw)
    found = losses_of(model, copy.deepcopy(data))
    # Of the two labelled images alone.
    assert len(calls) == 2
    kept = {'pseudo_loss_rpn_cls': 1, 'pseudo_loss_rpn_bbox': 3}
    assert {name for name in found if name.startswith('pseudo_')} == set(kept)
    factors = {**dict.fromkeys((n for n in found if n.startswith('sup_')), 1), **kept}
    for name, factor in factors.items():
        values, others = (v if isinstance(v, list) else [v] for v in (found[name], expected[name]))
        for value, other in zip(values, others, strict=True):
            torch.testing.assert_close(value, factor * other)
    # The factors stay as they were given.
    assert model.pseudo_factors == dict(loss_bbox=0.0, loss_rpn_bbox=3.0, loss_cls=0.0)
    # The classes of the pseudo-boxes are still there for whoever looks.
    strong = [s for s in data['data_samples']['strong'] if s is not None]
    assert any(s.gt_instances.labels.any() for s in strong)


@pytest.mark.parametrize('taught', [True, False])
def test_a_factor_of_no_loss_is_refused(taught):
    """In the burn-in, too, which may last for days."""
    data = batch()
    model = build(digits_model(pseudo_factors=dict(loss_box=0.0)))
    if taught:
        lesson(model, data)
    else:
        pop_branch(data, 'weak'), pop_branch(data, 'strong')
    with pytest.raises(ValueError, match="no loss 'loss_box'; use .*loss_bbox"):
        losses_of(model, data)


def test_boxes_count_as_much_as_their_weights():
    data = batch()
    model = build(digits_model())
    lesson(model, data)
    full = losses_of(model, copy.deepcopy(data))
    for strong in filter(None, data['data_samples']['strong']):
        strong.gt_instances.weights = torch.full_like(strong.gt_instances.scores, 0.5)
    half = losses_of(model, data)
    torch.testing.assert_close(half['pseudo_loss_bbox'], full['pseudo_loss_bbox'] / 2)
    torch.testing.assert_close(half['sup_loss_bbox'], full['sup_loss_bbox'])


@pytest.mark.parametrize('name', ['mt_fasterrcnn', 'supervised_fcos'])
def test_the_teacher_says_whether_and_the_verifier_too_which(name):
    model = digits_model(consistency=dict(kind='kl', num_regions=12), verifier=dict(scale=2.0))
    model.detector = Config.fromfile(f'configs/{name}_digits10pct.py').model.detector
    detector = build(model)
    # Whatever it is shown, class 4 has 0.91.
    detector.verifier.classifier.weight.zero_()
    detector.verifier.classifier.bias.zero_()[4] = math.log(91)
    weak = pop_branch(batch(), 'weak')
    _, verified = detector.teach(copy.deepcopy(weak))
    detector.verifier = None
    _, plain = detector.teach(weak)
    activate = partial(torch.softmax, dim=1) if detector.consistency.head.softmax else torch.sigmoid
    for ours, before in zip(verified, plain, strict=True):
        assert torch.equal(ours.priors, before.priors)
        told, said = activate(ours.logits), activate(before.logits)
        torch.testing.assert_close(told[:, 10:], said[:, 10:])
        sure = (said[:, :10].amax(1) / said[:, :10].sum(1)) ** SURENESS
        expected = (said[:, 4] / said[:, 3]) ** sure * 91 ** (1 - sure)
        torch.testing.assert_close(told[:, 4] / told[:, 3], expected, rtol=1e-3, atol=0)
        assert torch.equal(ours.labels, told[:, :10].argmax(1))


def test_one_class_needs_no_verifier():
    model = digits_model(consistency=dict(), verifier=dict())
    assert build(model).verifier is not None
    model.detector.roi_head.bbox_head.num_classes = 1
    assert build(model).verifier is None
