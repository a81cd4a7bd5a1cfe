"""Two classifiers on one region head."""

import pytest
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.config import ConfigDict
from mmengine.runner import Runner

from ssod.models.consistency import Consistency
from ssod.models.two_heads import TwoHeadBBoxHead

SIZE = 96


def head(**settings):
    """Of two classes and background, three logits for each of the two."""
    cfg = dict(type='TwoHeadBBoxHead', in_channels=2, roi_feat_size=1, fc_out_channels=4)
    return MODELS.build(cfg | dict(num_classes=2, with_reg=False) | settings)


def loss(head, scores):
    labels = torch.zeros(len(scores), dtype=torch.long)
    rois = torch.zeros(len(scores), 5)
    return head.loss(torch.tensor(scores), None, rois, labels, torch.ones(len(scores)), None, None)


@pytest.mark.parametrize(
    ('scores', 'distance'),
    [
        # The heads agree.
        ([[1.0, 2, 3, 1, 2, 3]], 0.0),
        # One logit of three is off by 3: 9 / 3, times the cost of 0.5.
        ([[1.0, 2, 3, 1, 2, 6]], 1.5),
        # A mean over the regions.
        ([[1.0, 2, 3, 1, 2, 6], [0.0, 0, 0, 0, 0, 0]], 0.75),
    ],
)
def test_the_distance(scores, distance):
    losses = loss(head(logit_distance=0.5), scores)
    assert losses['loss_distance'].item() == pytest.approx(distance)
    first = torch.tensor(scores)[:, :3]
    wanted = torch.nn.functional.cross_entropy(first, torch.zeros(len(first)).long())
    assert losses['loss_cls'].item() == pytest.approx(wanted.item())


def test_no_region():
    losses = head().loss(
        torch.zeros(0, 6), None, torch.zeros(0, 5), *[torch.zeros(0)] * 2, None, None
    )
    assert losses['loss_distance'].item() == 0


def test_the_distance_pulls_both_heads():
    scores = torch.tensor([[1.0, 2, 3, 1, 2, 6]], requires_grad=True)
    weights = torch.zeros(1)
    losses = head().loss(
        scores, None, torch.zeros(1, 5), torch.zeros(1).long(), weights, None, None
    )
    losses['loss_distance'].backward()
    assert scores.grad[0].tolist() == pytest.approx([0, 0, -0.02, 0, 0, 0.02])


def test_a_negative_cost_is_refused():
    with pytest.raises(ValueError, match='logit_distance is -1, but must be at least 0'):
        head(logit_distance=-1)


@pytest.fixture
def detector_cfg(digits_cfg):
    cfg = digits_cfg.model.detector
    cfg.roi_head.bbox_head.type = 'TwoHeadBBoxHead'
    return cfg


def test_the_first_head_predicts(detector_cfg):
    torch.manual_seed(0)
    two = MODELS.build(detector_cfg).eval()
    detector_cfg.roi_head.bbox_head.type = 'Shared2FCBBoxHead'
    one = MODELS.build(detector_cfg).eval()
    state = two.state_dict()
    for name in ('weight', 'bias'):
        key = f'roi_head.bbox_head.fc_cls.{name}'
        state[key] = state[key][:11]
    one.load_state_dict(state)
    meta = {'img_shape': (SIZE, SIZE), 'ori_shape': (SIZE, SIZE), 'scale_factor': (1.0, 1.0)}
    image = torch.randn(1, 3, SIZE, SIZE)
    with torch.no_grad():
        found, wanted = (
            model.predict(image, [DetDataSample(metainfo=meta)])[0].pred_instances
            for model in (two, one)
        )
    assert len(found) > 0
    torch.testing.assert_close(found.scores, wanted.scores)
    torch.testing.assert_close(found.bboxes, wanted.bboxes)


def test_the_teacher_speaks_by_the_first_and_the_student_answers_by_the_second(detector_cfg):
    torch.manual_seed(0)
    model = MODELS.build(detector_cfg).eval()
    consistency = Consistency(model, num_regions=8)
    assert isinstance(model.roi_head.bbox_head, TwoHeadBBoxHead)
    meta = {'img_shape': (SIZE, SIZE), 'ori_shape': (SIZE, SIZE), 'scale_factor': (1.0, 1.0)}
    sample = DetDataSample(metainfo=meta)
    features = model.extract_feat(torch.randn(1, 3, SIZE, SIZE))
    fc = model.roi_head.bbox_head.fc_cls
    with torch.no_grad():
        (sample.regions,) = consistency.regions(model, features, [sample])
    assert sample.regions.logits.shape == (8, 11)
    # The second head says what the first one said: they agree.
    with torch.no_grad():
        fc.weight[11:], fc.bias[11:] = fc.weight[:11].clone(), fc.bias[:11].clone()
        fc.weight[:11] = 0
    same = consistency.loss(model, features, [sample])['loss_cls']
    assert same.item() == pytest.approx(0, abs=1e-6)
    same.backward()
    # Only the second one is pulled.
    assert fc.weight.grad[:11].abs().sum() == 0


def test_training_with_two_heads(digits_cfg):
    digits_cfg.model.detector.roi_head.bbox_head.type = 'TwoHeadBBoxHead'
    digits_cfg.model.consistency = ConfigDict(weight=1.0, num_regions=8)
    runner = Runner.from_cfg(digits_cfg)
    runner.train()
    logged = runner.message_hub.log_scalars
    for name in ('sup_loss_distance', 'pseudo_loss_distance', 'consistency_loss_cls'):
        values = logged[f'train/{name}'].data[0]
        assert (values > 0).all(), name
