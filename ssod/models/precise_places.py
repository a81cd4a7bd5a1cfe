"""Places of boxes in float32, whatever autocast computes the rest in.

mmdet's heads make their anchors and points in the type of their maps, and so boxes, too: in
bfloat16, which has 8 bits, places near pixel 1000 are multiples of 4, and those that
non-maximum suppression moves apart by level or class are multiples of 32.
"""

from typing import Any

import torch
from mmdet.models import BaseDetector
from mmdet.models.dense_heads import DETRHead, TOODHead
from mmdet.models.dense_heads.base_dense_head import BaseDenseHead
from mmdet.models.roi_heads.bbox_heads import BBoxHead
from torch import Tensor, nn


def keep_places_precise(detector: BaseDetector) -> None:
    """Let what a detector's heads compute be float32 before it becomes boxes.

    Convolutions and products stay what autocast makes them; only their results are widened. Without
    autocast nothing changes.

    Args:
        detector: Any of mmdet's; hooks are put on its heads.
    """
    for head in detector.modules():
        for part in _telling_places(head):
            part.register_forward_hook(_widen)


def _telling_places(head: nn.Module) -> list[nn.Module]:
    """The parts of a head after which a value becomes a place, or none if it is no head."""
    if isinstance(head, TOODHead):
        # It looks boxes up at offsets, in the offsets' type.
        return [head, head.reg_offset_module]
    if isinstance(head, BaseDenseHead | BBoxHead):
        return [head]
    if isinstance(head, DETRHead):
        # One for all layers, or one for each, which may be the same.
        branches = [head.fc_reg] if hasattr(head, 'fc_reg') else head.reg_branches
        return list(dict.fromkeys(branches))
    return []


def _widen(_: nn.Module, __: Any, output: Any) -> Any:
    """Tensors of half precision as float32, in whatever lists and tuples."""
    if isinstance(output, Tensor):
        half = output.is_floating_point() and output.dtype.itemsize < torch.float32.itemsize
        return output.float() if half else output
    if isinstance(output, tuple | list):
        return type(output)(_widen(_, __, part) for part in output)
    return output
