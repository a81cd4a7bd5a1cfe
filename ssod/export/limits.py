"""Which detectors can be exported."""

from collections.abc import Iterator
from typing import Any

from mmcv.ops import RoIAlign
from mmdet.models import DetDataPreprocessor, SingleStageDetector, TwoStageDetector
from mmdet.models.dense_heads import RPNHead
from mmdet.models.dense_heads.base_dense_head import BaseDenseHead
from mmdet.models.roi_heads import StandardRoIHead
from mmdet.models.roi_heads.bbox_heads import BBoxHead
from mmdet.models.roi_heads.roi_extractors import SingleRoIExtractor
from mmdet.models.task_modules import DeltaXYWHBBoxCoder, DistancePointBBoxCoder

from ssod.models.batched_bbox_head import BatchedShared2FCBBoxHead
from ssod.models.batched_rpn_head import BatchedRPNHead
from ssod.models.pyramid_roi_extractor import PyramidRoIExtractor
from ssod.models.two_heads import TwoHeadBBoxHead
from ssod.ops.grouped_nms import plain_nms

_PREDICTIONS = ('predict', 'predict_by_feat', '_predict_by_feat_single', '_bbox_post_process')


def why_not(detector: Any) -> str | None:
    """Why a detector cannot be exported.

    The graph does what mmdet's own methods do. A class that overrides one of them does something
    else, so it is refused, whatever its name.

    Args:
        detector: A plain detector.

    Returns:
        The first reason; ``None`` if there is none.
    """
    return next(_reasons(detector), None)


def _reasons(detector: Any) -> Iterator[str]:
    name = type(detector).__name__
    if type(detector.data_preprocessor) is not DetDataPreprocessor:
        yield f'its preprocessor is a {type(detector.data_preprocessor).__name__}'
    if isinstance(detector, TwoStageDetector) and _same(detector, TwoStageDetector, ('predict',)):
        yield from _of_dense_head(detector.rpn_head, RPNHead)
        yield from _of_roi_head(detector.roi_head)
    elif isinstance(detector, SingleStageDetector) and _same(
        detector, SingleStageDetector, ('predict',)
    ):
        yield from _of_dense_head(detector.bbox_head, BaseDenseHead)
    else:
        yield f'{name} has its own prediction code; one and two stage detectors can be exported'


def _of_dense_head(head: Any, kind: Any) -> Iterator[str]:
    name = type(head).__name__
    known = _same(head, kind, _PREDICTIONS) or type(head) is BatchedRPNHead
    if not isinstance(head, kind) or not known:
        yield f'{name} has its own prediction code'
    elif getattr(head, 'bbox_coder', None) is None:
        yield f'{name} has no bbox_coder'
    elif not head.use_sigmoid_cls or getattr(head.loss_cls, 'custom_cls_channels', False):
        yield f'the scores of its {name} are not sigmoids'
    else:
        yield from _of_coder(head.bbox_coder)
        yield from _of_test_cfg(head.test_cfg, name, ('nms_pre', 'max_per_img'))


def _of_roi_head(roi_head: Any) -> Iterator[str]:
    head, extractor = roi_head.bbox_head, roi_head.bbox_roi_extractor
    if type(roi_head) is not StandardRoIHead or roi_head.with_mask or roi_head.with_shared_head:
        yield f'its {type(roi_head).__name__} does more than a StandardRoIHead with boxes only'
        return
    if not isinstance(head, BBoxHead) or not (
        _same(head, BBoxHead, _PREDICTIONS)
        or type(head) in (BatchedShared2FCBBoxHead, TwoHeadBBoxHead)
    ):
        yield f'{type(head).__name__} has its own prediction code'
        return
    if not (head.with_cls and head.with_reg) or head.custom_cls_channels:
        yield f'the scores or boxes of its {type(head).__name__} are not those of BBoxHead'
    layers = getattr(extractor, 'roi_layers', ())
    if type(extractor) not in (SingleRoIExtractor, PyramidRoIExtractor) or not all(
        type(layer) is RoIAlign and layer.pool_mode == 'avg' for layer in layers
    ):
        yield f'its {type(extractor).__name__} does not average regions with RoIAlign'
    yield from _of_coder(head.bbox_coder)
    yield from _of_test_cfg(roi_head.test_cfg, type(head).__name__, ('max_per_img',))


def _of_coder(coder: Any) -> Iterator[str]:
    if type(coder) not in (DeltaXYWHBBoxCoder, DistancePointBBoxCoder):
        yield f'its boxes are encoded by {type(coder).__name__}'
    elif getattr(coder, 'add_ctr_clamp', False):
        yield f'add_ctr_clamp of its {type(coder).__name__} is set'
    elif not coder.clip_border:
        yield f'clip_border of its {type(coder).__name__} is not set'


def _of_test_cfg(cfg: Any, name: str, counts: tuple[str, ...]) -> Iterator[str]:
    nms = dict(cfg.get('nms') or {})
    if not plain_nms(nms):
        yield f'test_cfg.nms of its {name} is {nms}, not plain nms'
    for count in counts:
        if cfg.get(count, -1) < 1:
            yield f'test_cfg.{count} of its {name} is {cfg.get(count)}, but must be at least 1'


def _same(thing: Any, kind: type, methods: tuple[str, ...]) -> bool:
    """Whether a thing's methods are those of ``kind``, for the methods ``kind`` has."""
    return all(
        getattr(type(thing), method, None) is getattr(kind, method)
        for method in methods
        if hasattr(kind, method)
    )
