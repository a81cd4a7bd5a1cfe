"""Moving averages of the predictions for each image."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from mmdet.structures.bbox import bbox_overlaps
from mmengine.structures import InstanceData
from torch import Tensor


class Remembered(NamedTuple):
    """What is remembered of one image.

    Args:
        visits: How often it was predicted on.
        boxes: (N, 4) float32, in pixels of the image file.
        masses: (N,) float32, the sums that become scores by :meth:`PredictionMemory.scores`.
        labels: (N,) int64.
    """

    visits: int
    boxes: Tensor
    masses: Tensor
    labels: Tensor


NOTHING = Remembered(0, torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.long))


class PredictionMemory:
    """Predictions averaged over the visits of an image.

    Temporal Ensembling (Laine & Aila 2017, section 2.2, algorithm 2) averages class probabilities,
    Z ← α·Z + (1 − α)·z, and corrects the bias of the start, z̃ = Z / (1 − αᵗ). Boxes are not a
    fixed set, so new ones are first matched with remembered ones of their class, best score first,
    each once. Matched boxes become their mean, weighted by what they add to Z, as in weighted boxes
    fusion (Solovyev et al. 2021, section 3). A box that is not found again counts as found with
    score 0, a new one as having had score 0 before.

    Args:
        decay: α, the share of the past, in [0, 1).
        iou: Least IoU at which two boxes count as the same, in (0, 1].
        max_boxes: Most boxes remembered per image; the best ones are kept.
        min_score: Boxes with a lower score are forgotten.
    """

    def __init__(self, decay: float, iou: float, max_boxes: int, min_score: float) -> None:
        self.decay = decay
        self.iou = iou
        self.max_boxes = max_boxes
        self.min_score = min_score
        self.images: dict[str, Remembered] = {}

    def scores(self, remembered: Remembered) -> Tensor:
        """Averaged scores (N,), corrected for the start."""
        return remembered.masses / (1 - self.decay**remembered.visits)

    def add(self, key: str, found: InstanceData) -> Remembered:
        """Average one more prediction of an image with what is remembered of it.

        Args:
            key: The image.
            found: ``bboxes`` (N, 4) in pixels of the image file, ``scores`` (N,), ``labels`` (N,).

        Returns:
            The new entry; the memory itself stays as it is, see :attr:`images`.
        """
        old = self.images.get(key, NOTHING)
        new = found[found.scores.argsort(descending=True, stable=True)].cpu()
        added = (1 - self.decay) * new.scores.float()
        boxes, masses = old.boxes.clone(), self.decay * old.masses
        partners = self._match(new, old)
        known, their = partners >= 0, partners[partners >= 0]
        total = masses[their] + added[known]
        weighted = boxes[their] * masses[their, None]
        weighted += new.bboxes[known].float() * added[known, None]
        boxes[their], masses[their] = weighted / total.clamp(min=1e-12)[:, None], total
        every = Remembered(
            old.visits + 1,
            torch.cat([boxes, new.bboxes[~known].float()]),
            torch.cat([masses, added[~known]]),
            torch.cat([old.labels, new.labels[~known]]),
        )
        return self._best(every)

    def _match(self, new: InstanceData, old: Remembered) -> Tensor:
        """For each new box (N,) the index of the remembered box it matches, or -1."""
        partners = torch.full((len(new),), -1)
        overlaps = bbox_overlaps(new.bboxes.float(), old.boxes)
        overlaps[new.labels[:, None] != old.labels] = 0
        if not overlaps.numel():
            return partners
        for number in range(len(new)):
            overlap, place = overlaps[number].max(dim=0)
            if overlap >= self.iou:
                partners[number] = place
                overlaps[:, place] = 0
        return partners

    def _best(self, entry: Remembered) -> Remembered:
        scores = self.scores(entry)
        order = scores.argsort(descending=True, stable=True)[: self.max_boxes]
        kept = order[scores[order] >= self.min_score]
        return Remembered(entry.visits, *(tensor[kept] for tensor in entry[1:]))

    def state_dict(self) -> dict[str, Any]:
        """All entries as a few tensors."""
        entries = list(self.images.values())
        return {
            'keys': list(self.images),
            'visits': torch.tensor([e.visits for e in entries], dtype=torch.int32),
            'sizes': torch.tensor([len(e.labels) for e in entries], dtype=torch.int32),
            'boxes': torch.cat([NOTHING.boxes, *(e.boxes for e in entries)]),
            'masses': torch.cat([NOTHING.masses, *(e.masses for e in entries)]),
            'labels': torch.cat([NOTHING.labels, *(e.labels for e in entries)]).to(torch.int16),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Remember what was remembered."""
        sizes = state['sizes'].tolist()
        entries = zip(
            state['keys'],
            state['visits'].tolist(),
            state['boxes'].cpu().split(sizes),
            state['masses'].cpu().split(sizes),
            state['labels'].cpu().long().split(sizes),
            strict=True,
        )
        # Copies: a view would keep the whole tensor alive.
        self.images = {
            key: Remembered(visits, *(part.clone() for part in parts))
            for key, visits, *parts in entries
        }
