"""mmdet's matching of anchors and regions with boxes, without its loops and waits for a GPU.

mmdet checks the boxes of an image one by one, and permutes all anchors (a quarter of a million at
1333 by 800 pixels) to draw 256 of them. A GPU idles meanwhile.
"""

from typing import Any

import torch
from mmdet.models.task_modules.assigners import AssignResult, MaxIoUAssigner
from mmdet.models.task_modules.samplers import RandomSampler, SamplingResult
from mmdet.structures.bbox import BaseBoxes
from mmengine.structures import InstanceData
from torch import Tensor, nn

from ssod.models.task_modules import task_modules_of

QUICK_ON = {'cuda'}
"""Kinds of devices that use the quick way; on a CPU mmdet's own is as fast."""


class QuickMaxIoUAssigner(MaxIoUAssigner):
    """mmdet's ``MaxIoUAssigner`` with the same results; on a GPU for all boxes at once."""

    def assign_wrt_overlaps(self, overlaps: Tensor, gt_labels: Tensor) -> AssignResult:
        """Match boxes by their IoU; see ``MaxIoUAssigner.assign_wrt_overlaps``.

        Args:
            overlaps: IoU of the true boxes and the others, (G, N).
            gt_labels: Classes of the true boxes, (G,).

        Returns:
            For each of the others (N,): the number of its true box from 1 on, 0 for background,
            -1 for neither; its IoU; and its class, -1 without a true box.
        """
        background = self.neg_iou_thr
        plain = overlaps.numel() > 0 and isinstance(background, float | tuple)
        if not plain or overlaps.device.type not in QUICK_ON:
            return super().assign_wrt_overlaps(overlaps, gt_labels)
        most, best = overlaps.max(dim=0)
        low, high = background if isinstance(background, tuple) else (0.0, background)
        matched = torch.where((most >= low) & (most < high), 0, -1)
        matched = torch.where(most >= self.pos_iou_thr, best + 1, matched)
        if self.match_low_quality:
            last = self._at_their_best(overlaps)
            matched = torch.where(last > 0, last, matched)
        classes = torch.where(matched > 0, gt_labels[(matched - 1).clamp(min=0)], -1)
        return AssignResult(len(overlaps), matched, most, labels=classes)

    def _at_their_best(self, overlaps: Tensor) -> Tensor:
        """The last true box (N,), from 1 on, that has its highest IoU there; 0 if none has.

        Args:
            overlaps: IoU of the true boxes and the others, (G, N).
        """
        highest, where = overlaps.max(dim=1, keepdim=True)
        enough = highest >= self.min_pos_iou
        if self.gt_max_assign_all:
            there = (overlaps == highest) & enough
        else:
            there = torch.zeros_like(overlaps, dtype=torch.bool).scatter_(1, where, enough)
        numbers = torch.arange(1, len(overlaps) + 1, dtype=torch.int32, device=overlaps.device)
        return (there * numbers[:, None]).amax(dim=0).long()


class QuickRandomSampler(RandomSampler):
    """mmdet's ``RandomSampler``; on a GPU it waits once and permutes nothing.

    Each anchor gets a random key, and those with the highest keys are drawn, so every choice is
    equally likely. The keys are seeded by the CPU's generator, so that
    :func:`~ssod.models.region_sampling.sampling_by_image` works for them too.
    """

    def sample(
        self,
        assign_result: AssignResult,
        pred_instances: InstanceData,
        gt_instances: InstanceData,
        **kwargs: Any,
    ) -> SamplingResult:
        """Draw anchors or regions of one image; see ``BaseSampler.sample``.

        Args:
            assign_result: Their matches with the true boxes.
            pred_instances: With ``priors`` (N, 4).
            gt_instances: With ``bboxes`` (G, 4) and ``labels`` (G,).
            kwargs: For mmdet's own.
        """
        priors, boxes = pred_instances.priors, gt_instances.bboxes
        plain = not isinstance(priors, BaseBoxes) and not isinstance(boxes, BaseBoxes)
        if not plain or priors.device.type not in QUICK_ON:
            return super().sample(assign_result, pred_instances, gt_instances, **kwargs)
        own = priors.new_zeros(len(priors), dtype=torch.uint8)
        if self.add_gt_as_proposals and len(boxes):
            priors = torch.cat([boxes, priors])
            assign_result.add_gt_(gt_instances.labels)
            own = torch.cat([own.new_ones(len(boxes)), own])
        positive, negative = self._drawn(assign_result.gt_inds)
        return SamplingResult(positive, negative, priors, boxes, assign_result, own)

    def _drawn(self, matched: Tensor) -> tuple[Tensor, Tensor]:
        """The indices of the drawn ones: the matched ones, and the background ones.

        Args:
            matched: For each (N,) its true box from 1 on, 0 for background, -1 for neither.
        """
        seed = int(torch.randint(2**62, ()))
        generator = torch.Generator(matched.device).manual_seed(seed)
        keys = torch.rand(len(matched), device=matched.device, generator=generator)
        wanted = min(int(self.num * self.pos_fraction), len(keys)), min(self.num, len(keys))
        highest = [
            keys.masked_fill(~of_kind, -1).topk(count)
            for of_kind, count in zip((matched > 0, matched == 0), wanted, strict=True)
        ]
        # The one wait.
        counts: list[int] = torch.stack([(key >= 0).sum() for key, _ in highest]).tolist()
        positive, negative = counts[0], min(counts[1], self.num - counts[0])
        if self.neg_pos_ub >= 0:
            negative = min(negative, int(self.neg_pos_ub * max(1, positive)))
        return highest[0].indices[:positive], highest[1].indices[:negative]


QUICK = {MaxIoUAssigner: QuickMaxIoUAssigner, RandomSampler: QuickRandomSampler}
"""The quick versions by the mmdet classes they replace."""


def quicken_matching(model: nn.Module) -> None:
    """Let a model's heads match and draw in the quick way.

    Args:
        model: Its assigners and samplers of exactly mmdet's classes change their class.
    """
    for part in task_modules_of(model):
        quick = QUICK.get(type(part))
        if quick is not None:
            part.__class__ = quick
