"""Region proposals and their targets, against mmdet's own head."""

import pytest
import torch
from mmdet.models.detectors import TwoStageDetector
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.config import Config, ConfigDict
from mmengine.structures import InstanceData

from ssod.models.batched_rpn_head import BatchedRPNHead
from ssod.models.box_weights import weighted_boxes

SIZES = (12, 6, 3)
SHAPES = [(96, 96), (80, 90), (96, 64), (40, 30)]
TARGETS = ('labels', 'label weights', 'boxes', 'box weights', 'number')


def head(kind, train=None, test=None, **settings):
    detector = Config.fromfile('configs/mt_fasterrcnn_digits10pct.py').model.detector
    assert detector.rpn_head.type == 'BatchedRPNHead'
    train, test = (
        dict(detector.train_cfg.rpn, **train or {}),
        dict(detector.test_cfg.rpn, **test or {}),
    )
    cfg = dict(detector.rpn_head, **settings, type=kind)
    return MODELS.build(dict(cfg, train_cfg=ConfigDict(train), test_cfg=ConfigDict(test)))


def both(**settings):
    return [head(kind, **settings) for kind in ('BatchedRPNHead', 'RPNHead')]


def maps(scale=2.0):
    """What the convolutions of three levels say of four images, two anchors in a place."""
    generator = torch.Generator().manual_seed(0)
    made = [
        [scale * torch.randn(len(SHAPES), n, size, size, generator=generator) for size in SIZES]
        for n in (2, 8)
    ]
    return made[0], made[1]


def metas():
    return [dict(img_shape=shape, pad_shape=(96, 96)) for shape in SHAPES]


def truth():
    """Boxes of four images, of the first none."""
    generator = torch.Generator().manual_seed(1)
    made = []
    for count, (height, width) in enumerate(SHAPES):
        corners = torch.rand(count, 2, 2, generator=generator).sort(dim=1).values
        boxes = corners.flatten(1) * torch.tensor([width, height, width, height])
        made.append(InstanceData(bboxes=boxes, labels=torch.zeros(count, dtype=torch.long)))
    return made


@pytest.mark.parametrize(
    'test',
    [
        {},
        dict(nms_pre=50, max_per_img=7),
        dict(nms_pre=0),
        # Most boxes are lower or narrower than this.
        dict(min_bbox_size=20),
        # As ours sees that it knows no such thing.
        dict(nms=dict(type='soft_nms', iou_threshold=0.5)),
    ],
)
def test_proposals_are_mmdets(test):
    found, wanted = (of.predict_by_feat(*maps(), batch_img_metas=metas()) for of in both(test=test))
    for one, other in zip(found, wanted, strict=True):
        assert len(one) > 1
        assert one.keys() == other.keys()
        for name in set(one.keys()):
            torch.testing.assert_close(one[name], other[name], rtol=0, atol=0)


def test_settings_without_limits():
    """As some of mmdet's configs have them."""
    found, wanted = both()
    for of in (found, wanted):
        del of.test_cfg['nms_pre'], of.test_cfg['min_bbox_size']
    for one, other in zip(
        *(of.predict_by_feat(*maps(), batch_img_metas=metas()) for of in (found, wanted)),
        strict=True,
    ):
        torch.testing.assert_close(one.bboxes, other.bboxes, rtol=0, atol=0)


def test_an_image_without_a_proposal():
    ours, theirs = both(test=dict(min_bbox_size=100))
    for of in (ours, theirs):
        assert [len(p) for p in of.predict_by_feat(*maps(), batch_img_metas=metas())] == [0] * 4


def test_boxes_in_pixels_of_the_file():
    scaled = [dict(meta, scale_factor=(2.0, 0.5)) for meta in metas()]
    found, wanted = (
        of.predict_by_feat(*maps(), batch_img_metas=scaled, rescale=True) for of in both()
    )
    assert all(torch.equal(o.bboxes, w.bboxes) for o, w in zip(found, wanted, strict=True))


def targets(of, batch_metas, ignored=None):
    """Ours as mmdet's head has them, an image for a row and all levels together."""
    torch.manual_seed(0)
    sizes = [(size, size) for size in SIZES]
    anchors, valid = of.get_anchors(sizes, batch_metas, device='cpu')
    if not isinstance(of, BatchedRPNHead):
        *levels, number = of.get_targets(anchors, valid, truth(), batch_metas, ignored)
        return [*(torch.cat(kind, dim=1) for kind in levels), number]
    valid = of._valid([torch.Size(size) for size in sizes], batch_metas, torch.device('cpu'))
    *flat, number = of.targets_of_images(
        torch.cat(anchors[0]), valid, truth(), batch_metas, ignored
    )
    return [*(whole.view(len(SHAPES), -1, *whole.shape[1:]) for whole in flat), number]


@pytest.mark.parametrize(
    'train',
    [
        {},
        # Anchors beyond the image take no part.
        dict(allowed_border=0),
        dict(pos_weight=3.0),
    ],
)
@pytest.mark.parametrize('pad', [(96, 96), (56, 96)])
def test_targets_are_mmdets(train, pad):
    batch_metas = metas()
    # Not all anchors are in this image, or they are.
    batch_metas[3]['pad_shape'] = pad
    ours, theirs = both(train=train)
    for name, one, other in zip(
        TARGETS, *(targets(h, batch_metas) for h in (ours, theirs)), strict=True
    ):
        if name == 'number':
            assert one == other > 0
        else:
            torch.testing.assert_close(one, other, rtol=0, atol=0, msg=name)


def test_ignored_boxes():
    train = dict(
        assigner=dict(type='MaxIoUAssigner', pos_iou_thr=0.7, neg_iou_thr=0.3, ignore_iof_thr=0.5)
    )
    ignored = [InstanceData(bboxes=torch.tensor([[0.0, 0, 60, 60]])) for _ in SHAPES]
    ours, theirs = (targets(of, metas(), ignored) for of in both(train=train))
    torch.testing.assert_close(list(ours[:4]), list(theirs[:4]), rtol=0, atol=0)


def test_no_anchor_in_the_image():
    batch_metas = metas()
    batch_metas[1]['img_shape'] = (2, 2)
    with pytest.raises(ValueError, match=r'\(2, 2\) has no anchor inside it'):
        targets(head('BatchedRPNHead', train=dict(allowed_border=0)), batch_metas)


def test_losses_and_gradients_are_mmdets():
    results = []
    for of in both():
        scores, deltas = ([m.requires_grad_() for m in level] for level in maps(0.3))
        torch.manual_seed(0)
        losses = of.loss_by_feat(scores, deltas, truth(), metas())
        assert losses.keys() == {'loss_rpn_cls', 'loss_rpn_bbox'}
        total = sum(sum(part) for part in losses.values())
        results.append([total, *torch.autograd.grad(total, [*scores, *deltas])])
    torch.testing.assert_close(*results)


def test_weights_of_boxes():
    """As mmdet's head has them by ``weighted_boxes``."""
    results = []
    for of in both():
        detector = TwoStageDetector.__new__(TwoStageDetector)
        torch.nn.Module.__init__(detector)
        detector.rpn_head = of
        samples = [DetDataSample(gt_instances=boxes) for boxes in truth()]
        for i, sample in enumerate(samples):
            sample.gt_instances.weights = torch.linspace(0.1, 0.9, 3)[:i]
        torch.manual_seed(0)
        boxes = [sample.gt_instances for sample in samples]
        with weighted_boxes(detector, samples):
            losses = of.loss_by_feat(*maps(0.3), boxes, metas())
            results.append({name: sum(levels) for name, levels in losses.items()})
    torch.testing.assert_close(*results)
    torch.manual_seed(0)
    plain = head('RPNHead').loss_by_feat(*maps(0.3), truth(), metas())
    assert results[0]['loss_rpn_bbox'] < sum(plain['loss_rpn_bbox'])
