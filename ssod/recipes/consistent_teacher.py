"""Consistent-Teacher: Towards Reducing Inconsistent Pseudo-targets (Wang et al., CVPR 2023).

Anchors are assigned by cost (:class:`AdaptiveAssigner`), boxes are sampled at the place and level
where they are best (:class:`FAM3DHead`), and each class's threshold is the likeliest score of right
boxes (``PeakMixtureSelector``, among the selectors). Numbers that the paper does not give are those
of its released code.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from mmcv.cnn import ConvModule, Scale
from mmdet.models.dense_heads.anchor_head import AnchorHead
from mmdet.registry import MODELS, TASK_UTILS
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import bbox_overlaps
from mmdet.utils import reduce_mean
from mmengine.structures import InstanceData
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from ssod.losses.named import Losses
from ssod.models.features import Features
from ssod.models.semi_supervised_detector import SemiSupervisedDetector
from ssod.projection import clip_boxes
from ssod.strict import check_ranges, strict_settings

Maps = list[Tensor]
Metas = list[dict[str, Any]]


class Truth(NamedTuple):
    """Boxes (B, G, 4) in pixels and labels (B, G) of a batch; -1 for filler boxes."""

    boxes: Tensor
    labels: Tensor

    @classmethod
    def of(cls, instances: Sequence[InstanceData]) -> 'Truth':
        """Stack the boxes of all images, with at least one filler for each image."""
        boxes = [F.pad(i.bboxes.float(), (0, 0, 0, 1)) for i in instances]
        labels = [F.pad(i.labels, (0, 1), value=-1) for i in instances]
        return cls(pad_sequence(boxes, True), pad_sequence(labels, True, -1))


@TASK_UTILS.register_module()
@strict_settings
class AdaptiveAssigner:
    """Adaptive anchor assignment, ASA (section 3.2), of all images at once.

    The cost of anchor i for box j is the focal loss of its scores if j were its box, plus
    ``iou_weight`` · -log IoU of its predicted box with j, plus ``distance_weight`` · 10^d, where d
    is the distance of the two centres in strides. Each box takes its k cheapest anchors, where k is
    the sum of its ``topk`` best IoUs; an anchor taken by several goes to the box with the lowest
    cost. Only anchors with their centre inside some box are taken. Nothing waits for the device.

    Args:
        topk: Number of IoUs to add up, and most anchors per box; at least 1.
        iou_weight: λ_reg, at least 0; the released code has 3 when all of COCO is labelled.
        distance_weight: λ_dist, at least 0.

    Raises:
        ValueError: If a setting is out of its range.
    """

    def __init__(
        self, topk: int = 13, iou_weight: float = 2.0, distance_weight: float = 0.001
    ) -> None:
        check_ranges(
            'AdaptiveAssigner',
            ('topk', topk, topk >= 1, 'at least 1'),
            ('iou_weight', iou_weight, iou_weight >= 0, 'at least 0'),
            ('distance_weight', distance_weight, distance_weight >= 0, 'at least 0'),
        )
        self.topk = topk
        self.iou_weight = iou_weight
        self.distance_weight = distance_weight

    @torch.no_grad()
    def assign(
        self, logits: Tensor, boxes: Tensor, points: Tensor, valid: Tensor, truth: Truth
    ) -> tuple[Tensor, Tensor]:
        """Assign N anchors to the G boxes of each of B images.

        Args:
            logits: (B, N, C) predicted, before the sigmoid.
            boxes: (B, N, 4) predicted, in pixels.
            points: (N, 3) as x, y of the anchors' centres and their strides, in pixels.
            valid: (B, N), which anchors lie on the image.
            truth: The true boxes.

        Returns:
            (B, N) each anchor's box, -1 for none, and (B, N) its predicted box's IoU with that.
        """
        corners, centres = truth.boxes[:, :, None], points[:, :2]
        within = torch.cat([centres - corners[..., :2], corners[..., 2:] - centres], dim=-1) > 0
        real = (truth.labels >= 0)[:, :, None]
        candidates = within.all(dim=-1).any(dim=1) & valid
        possible = candidates[:, None] & real
        ious = bbox_overlaps(truth.boxes, boxes)
        middles = (truth.boxes[..., :2] + truth.boxes[..., 2:]) / 2
        # Without matrix products: the power of ten would amplify their rounding errors.
        exact = 'donot_use_mm_for_euclid_dist'
        distances = torch.cdist(middles, centres[None], compute_mode=exact) / points[:, 2]
        # Beyond 38 strides the power would be infinite, and nan with a weight of 0.
        far = 10 ** distances.clamp(max=30)
        cost = self._class_cost(logits, truth.labels)
        cost = cost - self.iou_weight * (ious + 1e-7).log() + self.distance_weight * far
        return self._match(cost.masked_fill(~possible, torch.inf), ious * possible)

    def _class_cost(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The focal loss (0.25, 2) of N anchors for each of G labels, (B, G, N)."""
        logits = logits.transpose(1, 2)
        chance = logits.sigmoid()
        hit = 0.25 * (1 - chance) ** 2 * F.softplus(-logits)
        miss = 0.75 * chance**2 * F.softplus(logits)
        index = labels.clamp(min=0)[..., None].expand(-1, -1, logits.shape[2])
        return miss.sum(dim=1, keepdim=True) + (hit - miss).gather(1, index)

    def _match(self, cost: Tensor, ious: Tensor) -> tuple[Tensor, Tensor]:
        """Choose by cost, which is infinite where impossible; both arguments are (B, G, N)."""
        most = min(self.topk, cost.shape[2])
        counts = ious.topk(most, dim=2).values.sum(dim=2).int().clamp(min=1)
        lowest, places = cost.topk(most, dim=2, largest=False)
        rank = torch.arange(most, device=cost.device)
        chosen = (rank < counts[..., None]) & lowest.isfinite()
        taken = torch.zeros_like(cost, dtype=torch.uint8).scatter_(2, places, chosen.byte())
        takers = taken.sum(dim=1)
        owner = torch.where(takers > 1, cost.argmin(dim=1), taken.argmax(dim=1))
        quality = ious.gather(1, owner[:, None])[:, 0] * (takers > 0)
        return torch.where(takers > 0, owner, -1), quality


class _Finished:
    """A box coder for boxes that are decoded already."""

    encode_size = 4
    use_box_type = False

    def decode(self, priors: Tensor, boxes: Tensor, max_shape: tuple[int, int]) -> Tensor:
        """Boxes (N, 4) as they are, clipped to the image."""
        return clip_boxes(boxes, max_shape)


def sample(maps: Tensor, offsets: Tensor) -> Tensor:
    """Sample each channel of (B, C, H, W) at its own offsets (FAM-3D's first two dimensions).

    The offsets (B, 2C, H, W) are each channel's (dy, dx) in cells; sampling is bilinear. Outside
    the map the border value is used. The released code's deformable convolution reads zeros there,
    but these are coordinates, and zero is the image's corner.
    """
    height, width = maps.shape[-2:]
    dy, dx = offsets.reshape(-1, 2, height, width).unbind(dim=1)
    y = torch.arange(height, device=maps.device)[:, None] + dy
    x = torch.arange(width, device=maps.device) + dx
    grid = torch.stack([(2 * x + 1) / width - 1, (2 * y + 1) / height - 1], dim=-1)
    maps_alone = maps.reshape(-1, 1, height, width)
    found = F.grid_sample(maps_alone, grid, padding_mode='border', align_corners=False)
    return found.view_as(maps)


@MODELS.register_module()
@strict_settings
class FAM3DHead(AnchorHead):
    """RetinaNet's head with one anchor for each cell and 3-D feature alignment (section 3.3).

    Each coordinate of a cell's box is sampled at an offset predicted from the features: some cells
    up or down, some cells left or right, and up to one level finer or coarser. So a box comes from
    where it is best, and the cell's score belongs to it. The scores are sigmoids, learnt with hard
    labels on the anchors that the assigner chooses; their IoU weights the box loss and normalizes
    both losses.

    Args:
        num_classes: Number of classes.
        in_channels: Channels of the neck's maps.
        anchor_generator, bbox_coder, loss_cls, loss_bbox, test_cfg: Configs as for any anchor head.
        feat_channels: Channels of the towers, a multiple of 32.
        stacked_convs: Convolutions of each tower.
        train_cfg: ``assigner``, the config of an :class:`AdaptiveAssigner`.

    Raises:
        ValueError: If there is more than one anchor for each cell.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        anchor_generator: dict[str, Any],
        bbox_coder: dict[str, Any],
        loss_cls: dict[str, Any],
        loss_bbox: dict[str, Any],
        feat_channels: int = 256,
        stacked_convs: int = 4,
        train_cfg: Mapping[str, Any] | None = None,
        test_cfg: Mapping[str, Any] | None = None,
    ) -> None:
        self.stacked_convs = stacked_convs
        override = [dict(type='Normal', name='classify', std=0.01, bias_prob=0.01)]
        override += [dict(type='Normal', name=name, std=0.001) for name in ('squeeze', 'offset')]
        init = dict(type='Normal', layer='Conv2d', std=0.01, override=override)
        cfgs = dict(train_cfg=train_cfg, test_cfg=test_cfg, init_cfg=init)
        losses, boxes = dict(loss_cls=loss_cls, loss_bbox=loss_bbox), (anchor_generator, bbox_coder)
        super().__init__(num_classes, in_channels, feat_channels, *boxes, **losses, **cfgs)
        self.delta_coder = TASK_UTILS.build(bbox_coder)
        # The forward pass ends with boxes, so nothing after it has deltas to decode.
        self.bbox_coder = _Finished()
        if self.num_base_priors != 1:
            raise ValueError(
                f'FAM3DHead: anchor_generator gives {self.num_base_priors} anchors per cell, but '
                f'must give one; set one scale and ratios=[1.0]'
            )

    def _init_layers(self) -> None:
        """Two towers, the layers for scores and boxes, and FAM-3D's offsets."""
        channels, hint = self.feat_channels, self.feat_channels // 4
        norm = dict(type='GN', num_groups=32)
        inputs = [self.in_channels, *[channels] * (self.stacked_convs - 1)]
        for name in ('cls_convs', 'reg_convs'):
            tower = [ConvModule(c, channels, 3, padding=1, norm_cfg=norm) for c in inputs]
            setattr(self, name, nn.ModuleList(tower))
        self.classify = nn.Conv2d(channels, self.cls_out_channels, 3, padding=1)
        self.regress = nn.Conv2d(channels, 4, 3, padding=1)
        self.squeeze = nn.Conv2d(2 * self.stacked_convs * channels, hint, 1)
        self.offset = nn.Conv2d(3 * hint, 3 * 4, 3, padding=1)
        self.scales = nn.ModuleList([Scale(1.0) for _ in self.prior_generator.strides])

    def forward(self, x: Features) -> tuple[Maps, Maps]:
        """Logits (B, C, H, W) and boxes (B, 4, H, W) in pixels of each level, float32 both."""
        levels = [self._predict_level(maps, level) for level, maps in enumerate(x)]
        logits, boxes, hints = (list(part) for part in zip(*levels, strict=True))
        return logits, [self._align(boxes, hints, level) for level in range(len(boxes))]

    def _predict_level(self, maps: Tensor, level: int) -> tuple[Tensor, Tensor, Tensor]:
        """Logits, boxes before the alignment, and the features for their offsets."""
        seen = []
        for tower in (self.cls_convs, self.reg_convs):
            step = maps
            for conv in tower:
                step = conv(step)
                seen.append(step)
        logits = self.classify(seen[self.stacked_convs - 1]).float()
        deltas = self.scales[level](self.regress(seen[-1])).float().permute(0, 2, 3, 1)
        hint = self.squeeze(torch.cat(seen, dim=1)).relu()
        size = deltas.shape[1:3]
        anchors = self.prior_generator.single_level_grid_priors(size, level, device=maps.device)
        boxes = self.delta_coder.decode(anchors.repeat(len(maps), 1), deltas.reshape(-1, 4))
        return logits, boxes.view(deltas.shape).permute(0, 3, 1, 2), hint

    def _align(self, boxes: Maps, hints: Maps, level: int) -> Tensor:
        """The boxes of a level, sampled at FAM-3D's offsets (B, 4, H, W)."""
        # The finest level is its own finer one, and the coarsest its own coarser one.
        own, finer, coarser = boxes[level], max(level - 1, 0), min(level + 1, len(boxes) - 1)
        resize = partial(F.interpolate, size=own.shape[-2:], mode='bilinear', align_corners=False)
        around = (resize(hints[finer]), hints[level], resize(hints[coarser]))
        moves, climb = self.offset(torch.cat(around, dim=1)).float().split([8, 4], dim=1)
        climb = climb.clamp(min=-1, max=1)
        mixed = own * (1 - climb.abs())
        mixed = mixed + climb.clamp(min=0) * resize(boxes[coarser])
        mixed = mixed + (-climb).clamp(min=0) * resize(boxes[finer])
        aligned = sample(mixed, moves)
        # Four offsets may turn a box inside out, which GIoU would reward.
        upright = (aligned[:, :2] <= aligned[:, 2:]).all(dim=1, keepdim=True)
        return torch.where(upright, aligned, own)

    def loss_by_feat(
        self, scores: Maps, boxes: Maps, instances: list[InstanceData], metas: Metas, _: Any = None
    ) -> dict[str, Tensor]:
        """The losses ``loss_cls`` and ``loss_bbox``; see ``AnchorHead.loss_by_feat``."""
        logits, flat_boxes = (
            torch.cat([level.flatten(2).transpose(1, 2) for level in maps], dim=1)
            for maps in (scores, boxes)
        )
        truth = Truth.of(instances)
        points, valid = self._anchors([level.shape[-2:] for level in scores], metas, logits)
        index, quality = self.assigner.assign(logits, flat_boxes, points, valid, truth)
        box = index.clamp(min=0)
        labels = torch.where(index >= 0, truth.labels.gather(1, box), self.num_classes)
        targets = truth.boxes.gather(1, box[..., None].expand(-1, -1, 4))
        total = reduce_mean(quality.sum()).clamp(min=1)
        # All anchors take part, those without a box with weight 0, so nothing has to wait.
        of_classes = (logits.flatten(0, 1), labels.flatten(), valid.to(logits).flatten())
        of_boxes = (flat_boxes.flatten(0, 1), targets.flatten(0, 1), quality.flatten())
        loss_cls = self.loss_cls(*of_classes, avg_factor=total)
        return dict(loss_cls=loss_cls, loss_bbox=self.loss_bbox(*of_boxes, avg_factor=total))

    def _anchors(self, sizes: list[Any], metas: Metas, like: Tensor) -> tuple[Tensor, Tensor]:
        """The anchors' centres and strides (N, 3), and which are on the images (B, N)."""
        generator, device = self.prior_generator, like.device
        levels = zip(generator.grid_priors(sizes, device=device), generator.strides, strict=True)
        points = [F.pad((a[:, :2] + a[:, 2:]) / 2, (0, 1), value=stride[0]) for a, stride in levels]
        flags = [generator.valid_flags(sizes, meta['pad_shape'], device) for meta in metas]
        return torch.cat(points), torch.stack([torch.cat(level) for level in flags])


@MODELS.register_module()
@strict_settings
class ConsistentTeacher(SemiSupervisedDetector):
    """A student and its teacher, both with a :class:`FAM3DHead`.

    Args:
        detector: Config of a dense detector with a :class:`FAM3DHead` as its ``bbox_head``.
        data_preprocessor, pseudo_weight: See :class:`SemiSupervisedDetector`.
        background_weight: Factor of the pseudo loss when fewer than half of the strong views of all
            ranks have pseudo-boxes; from the released code, not in the paper.

    Raises:
        ValueError: If a setting is unknown or out of range, or the head is another one.
    """

    def __init__(
        self,
        detector: dict[str, Any],
        data_preprocessor: dict[str, Any],
        pseudo_weight: float | Mapping[str, Any] = 2.0,
        background_weight: float = 0.01,
    ) -> None:
        super().__init__(detector, data_preprocessor, pseudo_weight)
        head = getattr(self.student, 'bbox_head', None)
        if not isinstance(head, FAM3DHead):
            raise ValueError(
                f'ConsistentTeacher: {detector["type"]} has no FAM3DHead; use a RetinaNet with '
                f'bbox_head=dict(type="FAM3DHead"), as in consistentteacher_retinanet_*.py'
            )
        check_ranges(
            'ConsistentTeacher',
            ('background_weight', background_weight, background_weight >= 0, 'at least 0'),
        )
        self.background_weight = background_weight

    def pseudo_loss(
        self, features: Features, inputs: Tensor, strong: list[DetDataSample]
    ) -> Losses:
        """The student's own loss, reduced when most strong views are background."""
        losses = super().pseudo_loss(features, inputs, strong)
        share = sum(len(sample.gt_instances) > 0 for sample in strong) / len(strong)
        mostly_background = reduce_mean(inputs.new_tensor(share)) < 0.5
        weight = torch.where(mostly_background, self.background_weight, 1.0)
        return {name: value * weight for name, value in losses.items()}
