"""Detectors that cannot be exported are told apart by what they do, not by their names."""

import pytest
from mmdet.models import RetinaNet
from mmdet.models.dense_heads import FCOSHead
from mmdet.registry import MODELS
from mmengine.config import Config, ConfigDict

from ssod.export.limits import why_not
from ssod.plain_detector import detector_cfg


@MODELS.register_module(force=True)
class OtherHead(FCOSHead):
    """Decides otherwise which boxes stay."""

    def _bbox_post_process(self, *args, **kwargs):
        return super()._bbox_post_process(*args, **kwargs)


@MODELS.register_module(force=True)
class OtherDetector(RetinaNet):
    """Does something before or after its head predicts."""

    def predict(self, *args, **kwargs):
        return super().predict(*args, **kwargs)


@pytest.mark.parametrize(
    ('name', 'changes', 'reason'),
    [
        ('mt_fasterrcnn_digits10pct', {}, None),
        ('mt_retinanet_coco10pct', {}, None),
        ('mixpl_fcos_digits10pct', {}, None),
        ('mt_twoheads_fasterrcnn_digits10pct', {}, None),
        ('mixpl_dino_digits10pct', {}, 'DINO has its own prediction code; one and two stage'),
        (
            'consistentteacher_retinanet_digits10pct',
            {},
            'its boxes are encoded by',
        ),
        (
            'mt_retinanet_coco10pct',
            {'type': 'OtherDetector'},
            'OtherDetector has its own prediction',
        ),
        (
            'mixpl_fcos_digits10pct',
            {'bbox_head.type': 'OtherHead'},
            'OtherHead has its own prediction code',
        ),
        (
            'mt_retinanet_coco10pct',
            {'bbox_head.loss_cls': dict(_delete_=True, type='CrossEntropyLoss')},
            'the scores of its RetinaHead are not sigmoids',
        ),
        (
            'mt_fasterrcnn_digits10pct',
            {'test_cfg.rcnn.nms.type': 'soft_nms'},
            'test_cfg.nms of its BatchedShared2FCBBoxHead is '
            "{'type': 'soft_nms', 'iou_threshold': 0.5}",
        ),
        (
            'mt_fasterrcnn_digits10pct',
            {'test_cfg.rpn.nms.class_agnostic': True},
            "'class_agnostic': True}, not plain nms",
        ),
        (
            'mixpl_fcos_digits10pct',
            {'test_cfg.nms_pre': -1},
            'test_cfg.nms_pre of its FCOSHead is -1, but must be at least 1',
        ),
        (
            'mt_fasterrcnn_digits10pct',
            {'roi_head.type': 'DoubleHeadRoIHead', 'roi_head.reg_roi_scale_factor': 1.3},
            'its DoubleHeadRoIHead does more than a StandardRoIHead',
        ),
        (
            'mt_fasterrcnn_digits10pct',
            {'roi_head.bbox_roi_extractor.roi_layer.pool_mode': 'max'},
            'its PyramidRoIExtractor does not average regions with RoIAlign',
        ),
        (
            'mt_fasterrcnn_digits10pct',
            {'roi_head.bbox_head.bbox_coder.clip_border': False},
            'clip_border of its DeltaXYWHBBoxCoder is not set',
        ),
        (
            'mt_fasterrcnn_digits10pct',
            {'rpn_head.bbox_coder.add_ctr_clamp': True},
            'add_ctr_clamp of its DeltaXYWHBBoxCoder is set',
        ),
    ],
)
def test_the_first_reason(name, changes, reason):
    cfg = detector_cfg(Config.fromfile(f'configs/{name}.py'))
    cfg = ConfigDict(Config._merge_a_into_b(nested(changes), cfg))
    told = why_not(MODELS.build(cfg))
    assert told is None if reason is None else reason in told


def nested(changes):
    """Dotted keys as dicts in dicts."""
    result = {}
    for key, value in changes.items():
        *path, last = key.split('.')
        place = result
        for part in path:
            place = place.setdefault(part, {})
        place[last] = value
    return result
