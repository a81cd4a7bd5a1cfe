"""Regions and the consistency loss on them, for two-stage and dense detectors."""

import pytest
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.hub import get_config
from mmengine.structures import InstanceData
from torch import nn

from ssod.models.cell_grid import CellGrid
from ssod.models.consistency import Consistency
from ssod.models.features import given_features
from ssod.models.regions import DenseRegions, project_regions, region_head
from ssod.projection import share_inside

SIZE = 128
TWO_STAGE = ['faster_rcnn/faster-rcnn_r50_fpn_1x_coco', 'cascade_rcnn/cascade-rcnn_r50_fpn_1x_coco']
DENSE = [
    'retinanet/retinanet_r50_fpn_1x_coco',
    'fcos/fcos_r50-caffe_fpn_gn-head_1x_coco',
    # FCOS whose training outputs are in strides and whose eval outputs are in pixels.
    'fcos/fcos_r50-caffe_fpn_gn-head-center-normbbox-centeronreg-giou_1x_coco',
    'atss/atss_r50_fpn_1x_coco',
    'gfl/gfl_r50_fpn_1x_coco',
    'rtmdet/rtmdet_tiny_8xb32-300e_coco',
]


def detector(name):
    """An mmdet detector made narrow, its random predictions spread out."""
    cfg = get_config(f'mmdet::{name}.py').model
    if name.startswith('rtmdet'):
        cfg.backbone.init_cfg = None
    else:
        cfg.backbone.update(depth=18, base_channels=8, init_cfg=None, style='pytorch')
        cfg.neck.update(in_channels=[8, 16, 32, 64], out_channels=64)
    if name.startswith('rtmdet'):
        pass
    elif name in DENSE:
        cfg.bbox_head.update(in_channels=64, feat_channels=64)
    else:
        cfg.rpn_head.update(in_channels=64, feat_channels=64)
        cfg.roi_head.bbox_roi_extractor.out_channels = 64
        heads = cfg.roi_head.bbox_head
        for head in heads if isinstance(heads, list) else [heads]:
            head.update(in_channels=64, fc_out_channels=64)
    torch.manual_seed(0)
    model = MODELS.build(cfg)
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5)
    return model.eval()


def samples(count=1):
    meta = {'img_shape': (SIZE, SIZE), 'batch_input_shape': (SIZE, SIZE), 'scale_factor': (1, 1)}
    meta |= {'ori_shape': (SIZE, SIZE), 'pad_shape': (SIZE, SIZE)}
    return [DetDataSample(metainfo=meta) for _ in range(count)]


def asked(samples, regions):
    """Samples of strong views that carry the teacher's regions."""
    for sample, of_image in zip(samples, regions, strict=True):
        sample.regions = of_image
    return samples


def features(model, count=1):
    return model.extract_feat(torch.randn(count, 3, SIZE, SIZE, generator=torch.manual_seed(1)))


@pytest.mark.parametrize('kind', ['mse', 'kl'])
@pytest.mark.parametrize('name', TWO_STAGE + DENSE)
def test_agreement_costs_nothing_and_disagreement_does(name, kind):
    model = detector(name)
    consistency = Consistency(model, kind=kind, num_regions=16)
    with torch.no_grad():
        x = features(model, 2)
        regions = consistency.regions(model, x, samples(2))
    assert [len(r) for r in regions] == [16, 16]
    # The same weights, the same view: every distance is 0.
    same = consistency.loss(model, x, asked(samples(2), regions))
    assert {k: v.item() for k, v in same.items()} == pytest.approx(
        {'loss_cls': 0, 'loss_bbox': 0}, abs=1e-6
    )
    # Another student in train mode: both distances are positive, finite, and have a gradient.
    student = detector(name).train()
    torch.manual_seed(5)
    for p in student.parameters():
        p.data += 0.05 * torch.randn_like(p)
    losses = consistency.loss(student, features(student, 2), asked(samples(2), regions))
    sum(losses.values()).backward()
    assert all(v > 0 and torch.isfinite(v) for v in losses.values())
    head = student.roi_head if name in TWO_STAGE else student.bbox_head
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in head.parameters())


def test_the_weight_of_boxes():
    model = detector(TWO_STAGE[0])
    with torch.no_grad():
        x = features(model)
        regions = Consistency(model, num_regions=8).regions(model, x, samples())
        regions[0].bboxes += 3
        once, twice = (
            Consistency(model, box_weight=weight).loss(model, x, asked(samples(), regions))
            for weight in (1.0, 2.0)
        )
    assert twice['loss_bbox'].item() == pytest.approx(2 * once['loss_bbox'].item())
    assert once['loss_bbox'] > 0


@pytest.mark.parametrize('name', DENSE)
def test_train_mode_says_the_same_as_eval_mode(name):
    # Some heads give other units while training; the decoded boxes must not differ.
    model = detector(name)
    consistency = Consistency(model, num_regions=16)
    x = features(model)
    regions = consistency.regions(model, x, samples())
    model.train()
    for part in model.modules():
        # The statistics of a batch are other numbers, not other units.
        part.train(not isinstance(part, torch.nn.modules.batchnorm._BatchNorm))
    losses = consistency.loss(model, x, asked(samples(), regions))
    assert losses['loss_bbox'].item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize('name', DENSE)
def test_decoded_boxes_are_the_heads_own(name):
    model = detector(name)
    head = region_head(model)
    with torch.no_grad():
        x = features(model)
        regions, predictions = head.propose(model, x, samples(), 8)
        (_, boxes), *_ = head.evaluate(model, x, regions)
        torch.testing.assert_close(predictions[0][1], boxes, rtol=0, atol=0)
        cfg = model.test_cfg.copy()
        cfg.update(score_thr=-1.0, nms_pre=10**6, min_bbox_size=-1)
        meta = samples()[0].metainfo | {'img_shape': (10**6, 10**6)}
        own = model.bbox_head.predict_by_feat(
            *model.bbox_head(x), batch_img_metas=[meta], cfg=cfg, with_nms=False
        )[0].bboxes
    # mmdet clips at 0 in the image; so compare what is clipped alike.
    for box in boxes[:, 0].clamp(min=0):
        assert (own - box).abs().amax(dim=1).min() < 1e-3


def test_two_stage_boxes_and_scores_are_the_heads_own():
    model = detector(TWO_STAGE[0])
    head = region_head(model)
    with torch.no_grad():
        x = features(model)
        regions, ((logits, boxes), *_) = head.propose(model, x, samples(), 8)
        proposals = [InstanceData(bboxes=regions[0].priors)]
        own = model.roi_head.predict_bbox(
            x, [samples()[0].metainfo | {'img_shape': (10**6, 10**6)}], proposals, None
        )[0]
    torch.testing.assert_close(own.scores, logits.softmax(dim=1))
    torch.testing.assert_close(own.bboxes.view(8, -1, 4), boxes.clamp(min=0))


def test_the_proposals_of_highest_score_are_the_regions():
    model = detector(TWO_STAGE[0])
    views = samples()
    with torch.no_grad():
        x = features(model)
        (few,), _ = region_head(model).propose(model, x, views, 8)
        (everything,), _ = region_head(model).propose(model, x, samples(), 10**6)
    found = views[0].proposals
    assert len(everything) == len(found) > 8
    best = found.scores.topk(8).indices
    assert torch.equal(few.priors, found.bboxes[best])
    # Also of proposals that come in no order.
    given = samples()
    given[0].proposals = found[torch.randperm(len(found), generator=torch.manual_seed(0))]
    (again,), _ = region_head(model).propose(model, x, given, 8)
    assert torch.equal(again.priors, few.priors)


@pytest.mark.parametrize('name', DENSE)
def test_the_cells_of_highest_score_are_the_regions(name):
    model = detector(name)
    with torch.no_grad():
        x = features(model)
        (few,), ((logits, _),) = region_head(model).propose(model, x, samples(), 8)
        _, ((everything, _),) = region_head(model).propose(model, x, samples(), 10**6)
    assert len(everything) > len(few) == 8
    assert torch.equal(logits.amax(dim=1), everything.amax(dim=1).topk(8).values)


@pytest.mark.parametrize('name', TWO_STAGE[:1] + DENSE)
def test_what_predictions_are_made_of_is_not_computed_again(name):
    model, looks = detector(name), []
    head = region_head(model)
    judge = model.roi_head.bbox_head if name in TWO_STAGE else model.bbox_head
    layer = [part for part in judge.modules() if isinstance(part, nn.Conv2d | nn.Linear)][-1]
    layer.register_forward_hook(lambda *_: looks.append(1))
    with torch.no_grad():
        x, views = features(model, 2), samples(2)
        with given_features(model, x):
            plain = model.predict(torch.zeros(2, 3, SIZE, SIZE), samples(2), rescale=False)
        expected = [sample.pred_instances for sample in plain]
        alone = len(looks)
        with given_features(model, x), head.remembering(model, x, views):
            predicted = model.predict(torch.zeros(2, 3, SIZE, SIZE), views, rescale=False)
            regions, predictions = head.propose(model, x, views, 8)
        assert len(looks) == 2 * alone > 0
        others = head.evaluate(model, x, regions)
        # Afterwards it looks again.
        assert len(looks) > 2 * alone
    torch.testing.assert_close(predictions, others)
    for sample, wanted in zip(predicted, expected, strict=True):
        torch.testing.assert_close(sample.pred_instances.scores, wanted.scores)


@pytest.mark.parametrize('name', DENSE)
def test_a_region_stands_for_the_cell_it_was_made_of(name):
    model = detector(name)
    grid = CellGrid(model.bbox_head, model.bbox_head(features(model))[0])
    index = torch.arange(len(grid.levels))
    assert torch.equal(grid.index(grid.regions(index, DenseRegions.SIDE), DenseRegions.SIDE), index)


@pytest.mark.parametrize('name', DENSE)
def test_a_mirrored_view_has_the_mirrored_priors(name):
    """Whether priors are in the middle of cells or at their corners."""
    model = detector(name)
    grid = CellGrid(model.bbox_head, model.bbox_head(features(model))[0])
    index = torch.arange(len(grid.levels))
    regions = grid.regions(index, DenseRegions.SIDE)
    regions.bboxes = regions.priors
    regions.visible = share_inside(regions.priors, (SIZE, SIZE))
    flip = torch.tensor([[-1.0, 0, SIZE], [0, 1, 0], [0, 0, 1]])
    moved = carried(regions, flip)
    found = grid.index(moved, DenseRegions.SIDE)
    before, after = (centres(grid.priors[i]) for i in (index, found))
    # One at the very edge would be beyond the other edge.
    inside = before[:, 0] > 0
    assert inside.float().mean() > 0.5
    mirrored = torch.stack([SIZE - before[:, 0], before[:, 1]], dim=1)
    torch.testing.assert_close(after[inside], mirrored[inside], rtol=0, atol=1e-3)


def carried(regions, matrix, shape=(SIZE, SIZE)):
    """The regions of one image in another view of that shape."""
    return project_regions([regions], matrix[None], [shape])[0]


def centres(priors):
    """Of boxes (N, 4), or of points, with what else there is of them."""
    return (priors[:, :2] + priors[:, 2:]) / 2 if priors.shape[1] == 4 else priors[:, :2]


def test_a_flipped_view_has_the_mirrored_cell():
    model = detector('fcos/fcos_r50-caffe_fpn_gn-head_1x_coco')
    grid = CellGrid(model.bbox_head, model.bbox_head(features(model))[0])
    # FCOS has one prediction a cell; level 0 is 16 × 16 cells of 8 px. Row 2, columns 0 and 5.
    regions = grid.regions(torch.tensor([2 * 16, 2 * 16 + 5]), DenseRegions.SIDE)
    assert regions.priors[1].tolist() == [5.5 * 8 - 32, 2.5 * 8 - 32, 5.5 * 8 + 32, 2.5 * 8 + 32]
    regions.bboxes = regions.priors
    regions.visible = share_inside(regions.priors, (SIZE, SIZE))
    # Of the first a little more than a half in x, and a bit more in y; the second is in whole in x.
    assert regions.visible.tolist() == [36 * 52 / 64**2, 52 / 64]
    flip = torch.tensor([[-1.0, 0, SIZE], [0, 1, 0], [0, 0, 1]])
    moved = carried(regions, flip)
    # What the one view shows of them, the other does.
    assert grid.index(moved, DenseRegions.SIDE).tolist() == [2 * 16 + 15, 2 * 16 + 10]
    # A view that begins at x = 20: 16 of the 36 columns of the first are left, less than half.
    cut = torch.tensor([[1.0, 0, -20], [0, 1, 0], [0, 0, 1]])
    assert carried(regions, cut).priors.tolist() == [
        [5.5 * 8 - 52, 2.5 * 8 - 32, 5.5 * 8 + 12, 2.5 * 8 + 32]
    ]
    # Half the size: the cell of the same content, on the same level, for a half is nearer to 1
    # than to nothing; twice the size is one level up (16 × 16 cells come first).
    double = carried(regions, torch.diag(torch.tensor([2.0, 2.0, 1.0])), (256, 256))
    assert grid.index(double, DenseRegions.SIDE).tolist() == [256 + 2 * 8, 256 + 2 * 8 + 5]


@pytest.mark.parametrize('name', DENSE)
def test_no_cell_is_left_out_of_the_view_that_it_is_of(name):
    # The coarsest ones stand for more than the whole image.
    model = detector(name)
    with torch.no_grad():
        regions = Consistency(model, num_regions=10**6).regions(model, features(model), samples())
    same = carried(regions[0], torch.eye(3))
    assert len(same) == len(regions[0])
    assert len(region_head(model).comparable(same, (SIZE, SIZE))) == len(same)


@pytest.mark.parametrize(
    ('factor', 'kept'),
    [
        # Two levels less or more, nearly; the finest and the coarsest have none that would do.
        (1 / 3, [False, False, True, True, True]),
        (3.0, [True, True, True, False, False]),
        (0.5, [False, True, True, True, True]),
        (0.75, [True, True, True, True, True]),
    ],
)
def test_regions_between_the_sizes_of_levels(factor, kept):
    head = region_head(detector(DENSE[0]))
    sides = torch.tensor([8.0, 16, 32, 64, 128]) * DenseRegions.SIDE * factor
    priors = torch.cat([torch.zeros(5, 2), sides[:, None].repeat(1, 2)], dim=1)
    compared = head.comparable(InstanceData(priors=priors), (9999, 9999)).priors
    torch.testing.assert_close(compared, priors[torch.tensor(kept)])


@pytest.mark.parametrize('name', DENSE)
def test_padding_has_no_regions(name):
    # Above and left of 40 x 24 pixels; all else is padded, and mirrored it is on the other side.
    model, consistency = detector(name), Consistency(detector(name), num_regions=10**6)
    views = samples()
    views[0].set_metainfo({'img_shape': (24, 40)})
    with torch.no_grad():
        regions = consistency.regions(model, features(model), views)[0]
    centres = (regions.priors[:, :2] + regions.priors[:, 2:]) / 2
    assert len(centres) > 0
    assert (centres >= 0).all()
    assert (centres < torch.tensor([40.0, 24.0])).all()
    flip = torch.tensor([[-1.0, 0, 40], [0, 1, 0], [0, 0, 1]])
    mirrored = carried(regions, flip, (24, 40))
    compared = region_head(model).comparable(mirrored, (24, 40))
    centres = (compared.priors[:, :2] + compared.priors[:, 2:]) / 2
    assert len(centres) > 0
    assert (centres > -0.01).all()
    # At 40 there is no cell.
    assert (centres < torch.tensor([39.99, 23.99])).all()


def test_regions_of_other_sizes_are_not_compared():
    model = detector(DENSE[0])
    consistency = Consistency(model, num_regions=8)
    x = features(model)
    with torch.no_grad():
        regions = consistency.regions(model, x, samples())
    regions[0].priors *= 0.01
    losses = consistency.loss(model, x, asked(samples(), regions))
    assert {k: v.item() for k, v in losses.items()} == {'loss_cls': 0, 'loss_bbox': 0}


def test_no_regions_at_all():
    model = detector(TWO_STAGE[0])
    consistency = Consistency(model, num_regions=4)
    x = features(model)
    with torch.no_grad():
        regions = consistency.regions(model, x, samples())
    outside = torch.tensor([[1.0, 0, 10 * SIZE], [0, 1, 0], [0, 0, 1]])
    gone = [carried(r, outside) for r in regions]
    assert len(gone[0]) == 0
    # Nor is there anything to carry where nothing was proposed.
    none = [carried(r[:0], torch.eye(3)) for r in regions]
    for left in (gone, none):
        losses = consistency.loss(model, x, asked(samples(), left))
        assert {k: v.item() for k, v in losses.items()} == {'loss_cls': 0, 'loss_bbox': 0}
    sum(losses.values()).backward()


@pytest.mark.parametrize(
    ('name', 'head'),
    [
        ('yolox/yolox_tiny_8xb8-300e_coco', 'YOLOXHead'),
        # Its places are two vectors.
        ('sabl/sabl-faster-rcnn_r50_fpn_1x_coco', 'SABLHead'),
        ('sabl/sabl-cascade-rcnn_r50_fpn_1x_coco', 'SABLHead'),
        # It says no places.
        ('grid_rcnn/grid-rcnn_r50_fpn_gn-head_2x_coco', 'Shared2FCBBoxHead'),
        # Its proposals have no scores.
        ('sparse_rcnn/sparse-rcnn_r50_fpn_1x_coco', 'DIIHead'),
    ],
)
def test_a_detector_without_regions_is_refused(name, head):
    cfg = get_config(f'mmdet::{name}.py').model
    cfg.backbone.init_cfg = None
    with pytest.raises(ValueError, match=f'{head} cannot judge given regions; use Faster or'):
        Consistency(MODELS.build(cfg))


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        ({'kind': 'l1'}, "must be 'mse' or 'kl'"),
        ({'wieght': 1}, "did you mean 'weight'"),
        ({'num_regions': 0}, 'consistency: num_regions is 0, but must be at least 1'),
        ({'num_regions': -1}, 'consistency: num_regions is -1, but must be at least 1'),
        ({'box_weight': -1.0}, r'consistency: box_weight is -1\.0, but must be at least 0'),
        ({'box_weight': float('nan')}, 'consistency: box_weight is nan'),
    ],
)
def test_refused_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        Consistency(detector(TWO_STAGE[0]), **settings)
