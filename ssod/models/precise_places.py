"""Places of boxes in float32, whatever autocast computes the rest in.

mmdet's heads make their anchors and points in the type of their maps, and so boxes, too: in
bfloat16, which has 8 bits, places near pixel 1000 are multiples of 4, and those that
non-maximum suppression moves apart by level or class are multiples of 32.
"""

from typing import Any

import torch
from mmcv.ops import MultiScaleDeformableAttention
from mmdet.models import DeformableDETR
from mmdet.models.dense_heads import (
    AutoAssignHead,
    DETRHead,
    FreeAnchorRetinaHead,
    TOODHead,
)
from mmdet.models.dense_heads.base_dense_head import BaseDenseHead
from mmdet.models.dense_heads.gfl_head import Integral
from mmdet.models.detectors import semi_base, soft_teacher
from mmdet.models.layers.transformer import ConditionalDetrTransformerDecoder
from mmdet.models.roi_heads.bbox_heads import BBoxHead
from mmdet.registry import HOOKS
from mmdet.structures.bbox import bbox_project
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor, nn


def keep_places_precise(model: nn.Module) -> None:
    """Let what the heads of detectors compute be float32 before it becomes boxes.

    Convolutions and products stay what autocast makes them; only their results are widened. Without
    autocast nothing changes.

    Args:
        model: Any detector of mmdet's, or several in one; hooks are put on their heads.
    """
    for part in model.modules():
        for teller in _telling_places(part):
            teller.register_forward_hook(_widen)
        if type(part) is Integral:
            part.__class__ = PreciseIntegral
        if isinstance(part, TOODHead | AutoAssignHead | FreeAnchorRetinaHead):
            part.loss_by_feat = _PreciseLosses(part)


class PreciseIntegral(Integral):
    """The mean of a distribution of distances, which autocast leaves as precise as it is."""

    def forward(self, x: Tensor) -> Tensor:
        """Distances (N, 4) in strides, of logits (N, 4·(n + 1))."""
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(x)


@HOOKS.register_module()
class PrecisePlacesHook(Hook):
    """Let mmdet's own methods have float32 boxes at mixed precision, as ours do.

    They carry boxes from view to view by a product of matrices, which autocast would round: in
    bfloat16 to whole pixels above 128, and to pairs of them above 256.
    """

    def before_run(self, runner: Runner) -> None:
        """See :func:`keep_places_precise`."""
        keep_places_precise(runner.model)
        semi_base.bbox_project = soft_teacher.bbox_project = _project


def _project(boxes: Tensor, homography: Tensor, img_shape: tuple[int, int]) -> Tensor:
    """Mmdet's ``bbox_project`` outside autocast."""
    with torch.autocast(boxes.device.type, enabled=False):
        return bbox_project(boxes.float(), homography.float(), img_shape)


class _PreciseLosses:
    """A head's losses outside autocast, which on GPUs refuses those that take probabilities.

    Args:
        head: The head; a copy of it, made with this, has its own.
    """

    def __init__(self, head: BaseDenseHead) -> None:
        self.head = head

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Compute the losses; what they are of is float32 already."""
        with torch.autocast(next(self.head.parameters()).device.type, enabled=False):
            return type(self.head).loss_by_feat(self.head, *args, **kwargs)


def _telling_places(part: nn.Module) -> list[nn.Module]:
    """The submodules of a part whose outputs have to be float32; most parts have none."""
    if isinstance(part, TOODHead):
        # It looks boxes up at offsets, in the offsets' type.
        return [part, part.reg_offset_module]
    if isinstance(part, BaseDenseHead | BBoxHead):
        return [part]
    if isinstance(part, DETRHead):
        # One for all layers, or one for each, which may be the same.
        branches = [part.fc_reg] if hasattr(part, 'fc_reg') else part.reg_branches
        return list(dict.fromkeys(branches))
    # Its operator computes in the type of its values; of bfloat16 mmcv has none.
    if isinstance(part, MultiScaleDeformableAttention):
        return [part.value_proj]
    # Points from which others are reckoned.
    if isinstance(part, DeformableDETR) and not part.as_two_stage:
        return [part.reference_points_fc]
    if isinstance(part, ConditionalDetrTransformerDecoder):
        return [part.ref_point_head]
    return []


def _widen(_: nn.Module, __: Any, output: Any) -> Any:
    """Tensors of half precision as float32, in whatever lists and tuples."""
    if isinstance(output, Tensor):
        half = output.is_floating_point() and output.dtype.itemsize < torch.float32.itemsize
        return output.float() if half else output
    if isinstance(output, tuple | list):
        return type(output)(_widen(_, __, part) for part in output)
    return output
