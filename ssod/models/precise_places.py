"""Box coordinates in float32, even under autocast.

mmdet's heads make anchors, points and boxes in the data type of their maps. In bfloat16, with its 8
bits, coordinates near 1000 are multiples of 4, and those that non-maximum suppression offsets by
level or class are multiples of 32.
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
    """Convert the outputs of detectors' heads to float32 before they become boxes.

    Autocast still chooses the type of convolutions and products; only their results are widened.
    Without autocast nothing changes.

    Args:
        model: A module with any number of mmdet detectors; their heads get hooks.
    """
    for part in model.modules():
        for teller in _telling_places(part):
            teller.register_forward_hook(_widen)
        if type(part) is Integral:
            part.__class__ = PreciseIntegral
        if isinstance(part, TOODHead | AutoAssignHead | FreeAnchorRetinaHead):
            part.loss_by_feat = _PreciseLosses(part)


class PreciseIntegral(Integral):
    """The mean of a distribution of distances, computed outside autocast."""

    def forward(self, x: Tensor) -> Tensor:
        """Distances (N, 4) in strides, of logits (N, 4·(n + 1))."""
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(x)


@HOOKS.register_module()
class PrecisePlacesHook(Hook):
    """Gives mmdet's own semi-supervised methods float32 boxes at mixed precision, as ours have.

    They project boxes between views by a matrix product, which autocast would round: in bfloat16 to
    whole pixels above 128, to multiples of 2 above 256.
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
    """A head's losses outside autocast, which on GPUs refuses losses of probabilities.

    Args:
        head: The head; copying it copies this as well.
    """

    def __init__(self, head: BaseDenseHead) -> None:
        self.head = head

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Compute the losses; their inputs are float32 already."""
        with torch.autocast(next(self.head.parameters()).device.type, enabled=False):
            return type(self.head).loss_by_feat(self.head, *args, **kwargs)


def _telling_places(part: nn.Module) -> list[nn.Module]:
    """The submodules of a part whose outputs must be float32; most parts have none."""
    if isinstance(part, TOODHead):
        # It samples boxes at offsets, in the offsets' type.
        return [part, part.reg_offset_module]
    if isinstance(part, BaseDenseHead | BBoxHead):
        return [part]
    if isinstance(part, DETRHead):
        # One for all layers, or one for each, which may be the same.
        branches = [part.fc_reg] if hasattr(part, 'fc_reg') else part.reg_branches
        return list(dict.fromkeys(branches))
    # Its operator computes in the type of its values; mmcv has none for bfloat16.
    if isinstance(part, MultiScaleDeformableAttention):
        return [part.value_proj]
    # Reference points of other points.
    if isinstance(part, DeformableDETR) and not part.as_two_stage:
        return [part.reference_points_fc]
    if isinstance(part, ConditionalDetrTransformerDecoder):
        return [part.ref_point_head]
    return []


def _widen(_: nn.Module, __: Any, output: Any) -> Any:
    """Half-precision tensors as float32, also inside lists and tuples."""
    if isinstance(output, Tensor):
        half = output.is_floating_point() and output.dtype.itemsize < torch.float32.itemsize
        return output.float() if half else output
    if isinstance(output, tuple | list):
        return type(output)(_widen(_, __, part) for part in output)
    return output
