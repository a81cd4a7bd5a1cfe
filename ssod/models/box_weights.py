"""Weighted boxes in the losses of mmdet's own heads.

The heads assign regions or anchors to boxes as usual; the targets are weighted before the losses
use them. Background counts in full, and the divisors of the losses do not change, so a box of low
weight teaches little, and the others as much as ever.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from mmdet.models import BaseDetector
from mmdet.models.dense_heads import ATSSHead, GFLHead, RetinaHead, RPNHead
from mmdet.models.roi_heads import CascadeRoIHead, DoubleHeadRoIHead, StandardRoIHead
from mmdet.models.roi_heads.bbox_heads import BBoxHead
from mmdet.structures import DetDataSample
from torch import Tensor, nn

from ssod.models.batched_rpn_head import BatchedRPNHead
from ssod.models.regions import judges_boxes
from ssod.replaced import replaced

WEIGHTS = 'weights'
"""Name of the field of pseudo-boxes, (N,), above 0."""


WEIGHABLE_DENSE_HEADS = (RPNHead, BatchedRPNHead, RetinaHead, ATSSHead, GFLHead)
WEIGHABLE_ROI_HEADS = (StandardRoIHead, CascadeRoIHead, DoubleHeadRoIHead)
"""Heads whose targets can be weighted; subclasses, whose losses may use other targets, do not
count."""


@contextmanager
def weighted_boxes(detector: BaseDetector, samples: Sequence[DetDataSample]) -> Iterator[None]:
    """Let a detector's loss weight the boxes of some images.

    In ATSS and GFL only the classification is weighted; these weight their box losses themselves,
    by centre and by quality.

    Args:
        detector: Faster, Cascade or Double-Head R-CNN, RetinaNet, ATSS or GFL.
        samples: With the field ``weights`` in their ``gt_instances``; without it nothing changes.

    Raises:
        ValueError: If boxes have weights that the detector's heads cannot apply.
    """
    boxes = [sample.gt_instances for sample in samples]
    with ExitStack() as stack:
        if boxes and all(WEIGHTS in instances for instances in boxes):
            weights = [instances.weights for instances in boxes]
            for head in _heads(detector):
                stack.enter_context(replaced(head, *_weighing(head, weights)))
        yield


def check_weighable(detector: BaseDetector) -> None:
    """Refuse a detector that cannot weight boxes.

    Raises:
        ValueError: If its heads are not among those of :func:`weighted_boxes`.
    """
    _heads(detector)


def _heads(detector: BaseDetector) -> list[nn.Module]:
    """The heads whose targets to weight; see :func:`weighted_boxes` for errors."""
    roi_head = getattr(detector, 'roi_head', None)
    dense: Any = getattr(detector, 'rpn_head', None) or getattr(detector, 'bbox_head', None)
    of_regions: list[nn.Module] = []
    strange = [] if type(dense) in WEIGHABLE_DENSE_HEADS else [dense]
    if roi_head is not None:
        head = roi_head.bbox_head
        of_regions = list(head) if isinstance(head, nn.ModuleList) else [head]
        strange += [] if type(roi_head) in WEIGHABLE_ROI_HEADS else [roi_head]
        strange += [head for head in of_regions if not judges_boxes(head)]
    for head in strange:
        raise ValueError(
            f'{type(head).__name__} cannot weight boxes by their scores; use Faster or Cascade '
            f'R-CNN, RetinaNet, ATSS or GFL, or a selector without weights'
        )
    # BatchedRPNHead applies the weights itself.
    return of_regions if isinstance(dense, BatchedRPNHead) else [*of_regions, dense]


def _weighing(head: Any, weights: list[Tensor]) -> tuple[str, Callable[..., Any]]:
    """The head's method that computes targets, and one that weights them."""
    if isinstance(head, BBoxHead):
        return 'get_targets', _of_regions(head.get_targets, weights)
    return '_get_targets_single', _of_anchors(head._get_targets_single, head, weights)


def _of_regions(get_targets: Callable[..., Any], weights: list[Tensor]) -> Callable[..., Any]:
    """Weight the regions of a batch; each image's positive ones come before its negative ones."""

    def weighted(sampled: list[Any], *args: Any, **kwargs: Any) -> Any:
        """The targets of all regions, weighted."""
        targets = get_targets(sampled, *args, **kwargs)
        start = 0
        for result, of_image in zip(sampled, weights, strict=True):
            positive = slice(start, start + len(result.pos_priors))
            factor = of_image[result.pos_assigned_gt_inds]
            _multiply(targets[1], targets[3], positive, factor)
            start += len(result.pos_priors) + len(result.neg_priors)
        return targets

    return weighted


def _of_anchors(
    get_targets: Callable[..., Any], head: Any, weights: list[Tensor]
) -> Callable[..., Any]:
    """Weight the anchors of one image after the other."""
    labels_at = 1 if isinstance(head, ATSSHead | GFLHead) else 0
    calls = 0

    def weighted(*args: Any, **kwargs: Any) -> Any:
        """The targets of the next image's anchors, weighted."""
        nonlocal calls
        targets = get_targets(*args, **kwargs)
        of_image, calls = weights[calls % len(weights)], calls + 1
        labels, label_weights, _, box_weights = targets[labels_at : labels_at + 4]
        *_, chosen, _, result = targets
        # The chosen indices skip the anchors outside the image, and come in any order.
        positive = ((labels >= 0) & (labels < head.num_classes)).nonzero()[:, 0]
        factor = of_image[result.pos_assigned_gt_inds[chosen.argsort()]]
        _multiply(label_weights, box_weights, positive, factor)
        return targets

    return weighted


def _multiply(
    label_weights: Tensor, box_weights: Tensor, where: Tensor | slice, factor: Tensor
) -> None:
    """Multiply the weights (N,) of classes and (N, 4) of boxes at some indices."""
    label_weights[where] *= factor
    box_weights[where] *= factor[:, None]
