"""Dense Teacher (Zhou et al., ECCV 2022): the student learns the teacher's maps, not its boxes.

The pseudo-labels are the teacher's class probabilities, box distances and quality scores in each
cell of the feature maps, without a threshold and without suppressing overlapping boxes.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmdet.models.dense_heads import FCOSHead
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import bbox_overlaps
from mmengine.structures import InstanceData
from torch import Tensor

from ssod.data.branches import Branch
from ssod.losses.named import Losses
from ssod.models.features import Features
from ssod.models.semi_supervised_detector import SemiSupervisedDetector
from ssod.strict import check_ranges, strict_settings

Cells = tuple[Tensor, Tensor, Tensor]
"""Of N cells: class logits (N, K), distances to a box's sides in pixels (N, 4) as left, top, right,
bottom, and quality logits (N,); all float32."""


def dense_losses(student: Cells, teacher: Cells, share: float) -> tuple[Tensor, Tensor, Tensor]:
    """The losses of all cells of a batch (the original's ``get_distill_loss``).

    The learning region is the cells with the highest feature richness score (the teacher's best
    class score) in the batch. Quality Focal Loss covers all cells: its targets are the teacher's
    probabilities in the region and zeros elsewhere. Distances and quality are learnt only in the
    region.

    Args:
        student: N cells, at least 1.
        teacher: The same cells, taken as constant.
        share: Share of the cells in the region, in (0, 1]; at least one cell.

    Returns:
        The class loss, summed and divided by the sum of the region's scores (by 1 at least), the
        mean of 1 − GIoU, and the mean cross-entropy of the quality.
    """
    logits, distances, quality = student
    probabilities = teacher[0].detach().sigmoid()
    count = max(1, int(share * len(logits)))
    richness, region = probabilities.amax(dim=1).topk(count)
    target = torch.zeros_like(probabilities).index_copy_(0, region, probabilities[region])
    cross = F.binary_cross_entropy_with_logits(logits, target, reduction='none')
    of_class = (cross * (target - logits.sigmoid()).square()).sum() / richness.sum().clamp(min=1.0)
    # Boxes around the cell itself: its place does not change their overlap.
    signs = distances.new_tensor([-1, -1, 1, 1])
    boxes, wanted = distances[region] * signs, teacher[1].detach()[region] * signs
    of_box = 1 - bbox_overlaps(boxes, wanted, mode='giou', is_aligned=True).mean()
    wished = teacher[2].detach()[region].sigmoid()
    of_quality = F.binary_cross_entropy_with_logits(quality[region], wished)
    return of_class, of_box, of_quality


@MODELS.register_module()
@strict_settings
class DenseTeacher(SemiSupervisedDetector):
    """A student and a teacher with an ``FCOSHead``; the student learns the teacher's maps.

    Both views of an image must show the same places: every transform that moves the image belongs
    into ``TwoViews.common``. The teacher's boxes are still computed and selected, but only for the
    hooks that watch it, not for a loss.

    Args:
        detector: Config of the detector, for student and teacher alike.
        data_preprocessor: Config of a
            :class:`~ssod.models.two_stream_preprocessor.TwoStreamPreprocessor`.
        pseudo_weight: λ, a number or a schedule over the iterations since the burn-in.
        share: Share of all cells in the learning region, in (0, 1]; the paper has 1 %.
        class_weight: Weight of the class loss; the original has 4, with 1 % of the labels 3, with
            all labels 2.
        box_weight: Weight of the loss of the distances.
        quality_weight: Weight of the loss of the quality (FCOS' centerness).

    Raises:
        ValueError: If the detector's head is not an ``FCOSHead``, its preprocessor augments whole
            batches, or a setting is out of its range; while training, if the views of an image show
            different places.
    """

    weighs_boxes = False
    needs_soft_targets = True

    def __init__(
        self,
        detector: dict[str, Any],
        data_preprocessor: dict[str, Any],
        pseudo_weight: float | Mapping[str, Any] = 1.0,
        share: float = 0.01,
        class_weight: float = 4.0,
        box_weight: float = 1.0,
        quality_weight: float = 1.0,
    ) -> None:
        super().__init__(detector, data_preprocessor, pseudo_weight)
        check_ranges(
            'DenseTeacher',
            ('share', share, 0 < share <= 1, 'in (0, 1]'),
            ('class_weight', class_weight, class_weight >= 0, 'at least 0'),
            ('box_weight', box_weight, box_weight >= 0, 'at least 0'),
            ('quality_weight', quality_weight, quality_weight >= 0, 'at least 0'),
        )
        head = getattr(self.student, 'bbox_head', None)
        if not isinstance(head, FCOSHead):
            name = type(head or getattr(self.student, 'roi_head', self.student)).__name__
            raise ValueError(
                f'DenseTeacher: {name} has no maps of classes, distances and quality; use a '
                f'detector with FCOSHead, such as FCOS'
            )
        if getattr(self.data_preprocessor.data_preprocessor, 'batch_augments', None):
            raise ValueError(
                'DenseTeacher: batch_augments would change the strong views, but not the maps that '
                'belong to them; remove them from data_preprocessor'
            )
        self.share = share
        self.weights = {
            'loss_cls': class_weight,
            'loss_bbox': box_weight,
            'loss_quality': quality_weight,
        }

    @torch.no_grad()
    def teach(self, weak: Branch) -> tuple[list[InstanceData], list[Any] | None]:
        """The teacher's boxes and maps, from one pass of its head; see the base class."""
        inputs, samples = self.data_preprocessor.stack(weak)
        head = self.teacher.bbox_head
        maps = head(self.teacher.extract_feat(inputs))
        metas = [sample.metainfo for sample in samples]
        predictions: list[InstanceData] = head.predict_by_feat(
            *maps, batch_img_metas=metas, rescale=False
        )
        shapes = [sample.img_shape[:2] for sample in samples]
        return predictions, list(zip(shapes, _cells(head, maps, shapes), strict=True))

    def set_soft_targets(
        self, targets: list[Any], strong: list[DetDataSample], matrices: Tensor
    ) -> None:
        """Put the cells of the weak views into the samples of the strong views; see the base class.

        Raises:
            ValueError: If the two views of an image differ in size or show different places.
        """
        in_place = ((matrices - torch.eye(3)).abs() <= 1e-4).all(dim=2).all(dim=1).tolist()
        for sample, (shape, cells), is_in_place in zip(strong, targets, in_place, strict=True):
            if not is_in_place or tuple(sample.img_shape[:2]) != tuple(shape):
                raise ValueError(
                    f'DenseTeacher: the views of {sample.get("img_path")} show different places; '
                    f'put transforms that resize, flip or move the image into TwoViews.common'
                )
            sample.cells = cells

    def pseudo_loss(
        self, features: Features, inputs: Tensor, strong: list[DetDataSample]
    ) -> Losses:
        """The distance between the two models' maps, without λ; see the base class."""
        head = self.student.bbox_head
        shapes = [sample.img_shape[:2] for sample in strong]
        student = _joined(_cells(head, head(features), shapes))
        teacher = _joined([sample.cells for sample in strong])
        losses = dense_losses(student, teacher, self.share)
        pairs = zip(self.weights.items(), losses, strict=True)
        return {name: weight * loss for (name, weight), loss in pairs}


def _cells(
    head: FCOSHead, maps: Sequence[Sequence[Tensor]], shapes: Sequence[tuple[int, int]]
) -> list[Cells]:
    """The cells of each image, level by level, without those of its padding.

    Padding depends on the other images of the batch, so only the cells inside the image are the
    same in two batches.

    Args:
        head: The head that gave the maps.
        maps: Its outputs for each level: class logits, distances, quality logits.
        shapes: Height and width of each image before padding.
    """
    found: list[Cells] = []
    for number, (height, width) in enumerate(shapes):
        levels: list[list[Tensor]] = []
        for stride, *of_level in zip(head.strides, *maps, strict=True):
            rows, columns = math.ceil(height / stride), math.ceil(width / stride)
            logits, distances, quality = (
                m[number, :, :rows, :columns].flatten(1).T.float() for m in of_level
            )
            # In training this head gives distances in strides, otherwise in pixels.
            in_strides = head.norm_on_bbox and head.training
            distances = distances * stride if in_strides else distances
            levels.append([logits, distances, quality[:, 0]])
        found.append(_joined(levels))
    return found


def _joined(parts: Sequence[Sequence[Tensor]]) -> Cells:
    logits, distances, quality = (torch.cat(of_kind) for of_kind in zip(*parts, strict=True))
    return logits, distances, quality
