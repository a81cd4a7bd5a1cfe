"""Regions of an image that both the student and the teacher judge.

A region is a box in a view's pixels, so it is projected from the weak to the strong view like any
other box. A two-stage detector can judge any box; a dense detector has one prediction for each cell
of its maps, and a region stands for the cell with its centre and size.
"""

from abc import ABCMeta, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from mmdet.models import BaseDetector
from mmdet.models.dense_heads import (
    ATSSHead,
    FCOSHead,
    GFLHead,
    RetinaHead,
    RTMDetHead,
    RTMDetSepBNHead,
)
from mmdet.models.dense_heads.base_dense_head import BaseDenseHead
from mmdet.models.roi_heads import CascadeRoIHead, StandardRoIHead
from mmdet.models.roi_heads.bbox_heads import BBoxHead, ConvFCBBoxHead, DoubleConvFCBBoxHead
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import bbox2roi
from mmengine.structures import InstanceData
from torch import Tensor, nn

from ssod.instances import images_of_boxes, split_instances
from ssod.models.cell_grid import CellGrid, points_inside, square_sides
from ssod.models.features import Features, flat, one_pass
from ssod.models.proposals import give_proposals, keeping_region_predictions
from ssod.models.two_heads import TwoHeadBBoxHead
from ssod.projection import project_boxes, share_inside

RegionPredictions = list[tuple[Tensor, Tensor]]
"""For each image: logits (N, K), with a softmax (N, K + 1), with two heads (N, 2 (K + 1)); and
boxes (N, C, 4), where C is 1 if no class has its own box."""

LEAST_VISIBLE = 0.5
"""Least share of a region's part in the weak view that must lie inside the strong view; with less,
the content is not the same."""


class RegionHead(metaclass=ABCMeta):
    """How one kind of detector judges regions.

    Attributes:
        num_classes: K, without the background.
        softmax: Whether class logits form one softmax, background last, or sigmoids.
        two_heads: Whether there are two classifiers, see
            :class:`~ssod.models.two_heads.TwoHeadBBoxHead`; the teacher's first one is then
            compared with the student's second one.
    """

    num_classes: int
    softmax: bool
    two_heads = False

    @abstractmethod
    def propose(
        self, detector: BaseDetector, features: Features, samples: list[DetDataSample], count: int
    ) -> tuple[list[InstanceData], RegionPredictions]:
        """The ``count`` most promising regions of each image, and what is predicted for them.

        The regions are ``priors`` (N, 4), with whatever else :meth:`evaluate` needs.
        """

    @abstractmethod
    def remembering(
        self, detector: BaseDetector, features: Features, samples: list[DetDataSample]
    ) -> AbstractContextManager[None]:
        """A context in which :meth:`propose` reuses what the detector's predictions compute.

        Args:
            detector: The detector that predicts.
            features: Of the images.
            samples: Of the images.
        """

    @abstractmethod
    def evaluate(
        self, detector: BaseDetector, features: Features, regions: list[InstanceData]
    ) -> RegionPredictions:
        """The detector's class logits and boxes for each region."""

    def sharing(self, detector: BaseDetector, features: Features) -> AbstractContextManager[None]:
        """A context in which :meth:`evaluate` reuses what the detector's loss computes.

        Here nothing is reused.

        Args:
            detector: The detector that learns.
            features: Of the images; both have to be given these very ones.
        """
        return nullcontext()

    def comparable(self, regions: InstanceData, img_shape: tuple[int, int]) -> InstanceData:
        """The regions in a view that the detector can judge as they are; here all.

        Args:
            regions: In the pixels of the view.
            img_shape: Its height and width, without padding.
        """
        return regions


def region_head(detector: BaseDetector) -> RegionHead:
    """The region head that fits a detector.

    Raises:
        ValueError: If the detector cannot judge given regions.
    """
    two_stage = two_stage_regions(detector)
    if two_stage is not None:
        return two_stage
    head = _judging_head(detector)
    if type(head) in JUDGING_DENSE_HEADS:
        return DenseRegions(detector)
    known = ', '.join(cls.__name__ for cls in JUDGING_DENSE_HEADS)
    raise ValueError(
        f'consistency: {type(head).__name__} cannot judge given regions; use Faster or Cascade '
        f'R-CNN or a detector with {known}, or set consistency=None'
    )


def two_stage_regions(detector: BaseDetector) -> 'TwoStageRegions | None':
    """The region head of a two-stage detector; ``None`` if it cannot judge given regions."""
    roi_head = getattr(detector, 'roi_head', None)
    # Sparse R-CNN's proposals are parameters and have no scores.
    proposes = isinstance(getattr(detector, 'rpn_head', None), BaseDenseHead)
    known = proposes and isinstance(roi_head, StandardRoIHead | CascadeRoIHead)
    return TwoStageRegions(roi_head) if known and judges_boxes(_judging_head(detector)) else None


def _judging_head(detector: BaseDetector) -> nn.Module:
    """The module that judges boxes first; the detector itself if that is unknown."""
    head = getattr(getattr(detector, 'roi_head', None) or detector, 'bbox_head', detector)
    return head[0] if isinstance(head, nn.ModuleList) else head


def judges_boxes(head: nn.Module) -> bool:
    """Whether a region head gives one vector of logits and one of deltas for each region."""
    kinds = ConvFCBBoxHead | DoubleConvFCBBoxHead
    known = isinstance(head, kinds) or type(head) is BBoxHead
    return bool(known and head.with_cls and head.with_reg)


class TwoStageRegions(RegionHead):
    """Proposals of the region proposal network, judged by the (first) region head.

    Args:
        roi_head: The detector's, with its region head.
    """

    softmax = True

    def __init__(self, roi_head: Any) -> None:
        head = roi_head.bbox_head
        first: Any = head[0] if isinstance(head, nn.ModuleList) else head
        self.num_classes = first.num_classes
        self.two_heads = isinstance(head, TwoHeadBBoxHead)

    def propose(
        self, detector: BaseDetector, features: Features, samples: list[DetDataSample], count: int
    ) -> tuple[list[InstanceData], RegionPredictions]:
        """See :class:`RegionHead`; samples with ``proposals`` keep them.

        Predictions that the proposals already hold are reused as well.
        """
        give_proposals(detector, features, samples)
        proposals = [sample.proposals for sample in samples]
        best = [p[p.scores.argsort(descending=True)[:count]] for p in proposals]
        regions = [InstanceData(priors=p.bboxes) for p in best]
        if not all('logits' in p for p in best):
            return regions, self.evaluate(detector, features, regions)
        said = InstanceData.cat(best)
        coder, counts = detector.roi_head.bbox_head.bbox_coder, [len(p) for p in best]
        return regions, _region_predictions(coder, said.bboxes, said.logits, said.deltas, counts)

    def remembering(
        self, detector: BaseDetector, features: Features, samples: list[DetDataSample]
    ) -> AbstractContextManager[None]:
        """See :class:`RegionHead`."""
        give_proposals(detector, features, samples)
        return keeping_region_predictions(detector, samples)

    def evaluate(
        self, detector: BaseDetector, features: Features, regions: list[InstanceData]
    ) -> RegionPredictions:
        """See :class:`RegionHead`."""
        roi_head, bbox_head = detector.roi_head, detector.roi_head.bbox_head
        rois = bbox2roi([r.priors for r in regions])
        if isinstance(roi_head, CascadeRoIHead):
            bbox_head = bbox_head[0]
            outputs = roi_head._bbox_forward(0, features, rois)
        else:
            outputs = roi_head._bbox_forward(features, rois)
        logits, deltas = outputs['cls_score'], outputs['bbox_pred']
        counts = [len(r.priors) for r in regions]
        return _region_predictions(bbox_head.bbox_coder, rois[:, 1:], logits, deltas, counts)


def _region_predictions(
    coder: Any, priors: Tensor, logits: Tensor, deltas: Tensor, counts: list[int]
) -> RegionPredictions:
    """Predictions of the regions of all images, from a region head's outputs.

    Args:
        coder: The head's.
        priors: The regions, (N, 4).
        logits: As in :data:`RegionPredictions`.
        deltas: (N, 4 C), where C is 1 if no class has its own box.
        counts: Regions of each image.
    """
    boxes = coder.decode(priors, deltas.float())
    boxes = boxes.view(len(priors), boxes.shape[1] // 4, 4)
    return list(zip(torch.split(logits, counts), torch.split(boxes, counts), strict=True))


class DenseRegions(RegionHead):
    """Cells of a dense head's maps, each with its best prediction first.

    Args:
        detector: A detector with one of :data:`JUDGING_DENSE_HEADS`.
    """

    SIDE = 8
    """Side of a cell's region in strides: the object size that the cell is meant for."""

    def __init__(self, detector: BaseDetector) -> None:
        head = detector.bbox_head
        self.num_classes = head.num_classes
        self.softmax = head.cls_out_channels != head.num_classes
        self.sides = torch.tensor([s[0] * self.SIDE for s in head.prior_generator.strides])

    def propose(
        self, detector: BaseDetector, features: Features, samples: list[DetDataSample], count: int
    ) -> tuple[list[InstanceData], RegionPredictions]:
        """See :class:`RegionHead`; ``anchors`` (N,) numbers the priors of one cell.

        Cells of the padding do not count, so there may be fewer than ``count`` regions.
        """
        head = detector.bbox_head
        maps, boxes = head(features)[:2]
        grid = CellGrid(head, maps)
        scores = flat(maps, head.cls_out_channels)
        classes = scores[..., :-1] if self.softmax else scores
        inside = torch.stack([grid.inside(sample.img_shape) for sample in samples])
        best = classes.amax(dim=2).masked_fill(~inside, -torch.inf)
        best = best.topk(min(count, best.shape[1]), dim=1).indices
        # Those of the padding come last.
        counts = inside.gather(1, best).sum(dim=1).tolist()
        regions = [grid.regions(i[:n], self.SIDE) for i, n in zip(best, counts, strict=True)]
        return regions, self._region_predictions(head, grid, maps, boxes, regions)

    def remembering(
        self, detector: BaseDetector, features: Features, samples: list[DetDataSample]
    ) -> AbstractContextManager[None]:
        """See :class:`RegionHead`."""
        return self.sharing(detector, features)

    def sharing(self, detector: BaseDetector, features: Features) -> AbstractContextManager[None]:
        """See :class:`RegionHead`; the head runs once."""
        return one_pass(detector.bbox_head, features)

    def evaluate(
        self, detector: BaseDetector, features: Features, regions: list[InstanceData]
    ) -> RegionPredictions:
        """See :class:`RegionHead`."""
        head = detector.bbox_head
        logits, boxes = head(features)[:2]
        return self._region_predictions(head, CellGrid(head, logits), logits, boxes, regions)

    def _region_predictions(
        self,
        head: Any,
        grid: CellGrid,
        logits: list[Tensor],
        boxes: list[Tensor],
        regions: list[InstanceData],
    ) -> RegionPredictions:
        """Predictions of regions from a head's maps of logits and boxes, one of each per level."""
        flat_logits = flat(logits, head.cls_out_channels)
        flat_boxes = flat(boxes, boxes[0].shape[1] // grid.anchors)
        predictions = []
        for i, region in enumerate(regions):
            index = grid.index(region, self.SIDE)
            decoded = grid.decode(head, index, flat_boxes[i, index].float())
            predictions.append((flat_logits[i, index], decoded[:, None]))
        return predictions

    def comparable(self, regions: InstanceData, img_shape: tuple[int, int]) -> InstanceData:
        """See :class:`RegionHead`.

        Those whose size is within a factor of √2 of a level's, and whose centre is inside the view;
        there is no cell for others.
        """
        sides = self.sides.to(regions.priors, non_blocking=True)
        factors = (square_sides(regions.priors)[:, None] / sides).log2().abs().amin(dim=1)
        centres = (regions.priors[:, :2] + regions.priors[:, 2:]) / 2
        seen = (factors <= 0.5 + 1e-3) & points_inside(centres, img_shape)
        # Indices: indexing by a mask would wait for the GPU once per field.
        return regions[seen.nonzero()[:, 0]]


JUDGING_DENSE_HEADS = (RetinaHead, ATSSHead, GFLHead, FCOSHead, RTMDetHead, RTMDetSepBNHead)
"""Heads whose maps :class:`DenseRegions` can read; subclasses may differ and do not count."""


def boxes_of_class(boxes: Tensor, labels: Tensor) -> Tensor:
    """Boxes (N, C, 4) of the classes ``labels`` (N,), or the only box of each region."""
    if boxes.shape[1] == 1:
        return boxes[:, 0]
    return boxes[torch.arange(len(labels), device=labels.device), labels]


def project_regions(
    regions: Sequence[InstanceData], matrices: Tensor, img_shapes: Sequence[tuple[int, int]]
) -> list[InstanceData]:
    """The regions of some images and the teacher's boxes for them, in other views.

    Regions with too little inside the view are left out (:data:`LEAST_VISIBLE`).

    Args:
        regions: For each image, with ``priors`` (N, 4), the teacher's ``bboxes`` (N, 4), and in
            ``visible`` (N,) the share of each prior that is inside its own view.
        matrices: (B, 3, 3) homographies between the views.
        img_shapes: Height and width of each of the other views.
    """
    counts = [len(of_image) for of_image in regions]
    images = images_of_boxes(counts)
    together = InstanceData.cat(list(regions))
    shapes = torch.tensor([shape[:2] for shape in img_shapes])[images]
    boxes = torch.cat([together.priors, together.bboxes])
    boxes = project_boxes(boxes, matrices[images].repeat(2, 1, 1))
    priors, bboxes = boxes.chunk(2)
    visible = (share_inside(priors, shapes) >= LEAST_VISIBLE * together.visible).cpu()
    rows = visible.nonzero()[:, 0].to(boxes.device, non_blocking=True)
    moved = together[rows]
    moved.priors, moved.bboxes = priors[rows], bboxes[rows]
    return split_instances(moved, images[visible].bincount(minlength=len(counts)).tolist())
