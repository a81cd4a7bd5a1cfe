"""How many boxes there are, on how many images and of which classes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from mmdet.structures import DetDataSample
from mmengine.dist import all_reduce, get_rank

from ssod.data.data_sets import spread

SAMPLED = 10_000
"""At most so many labelled images are counted; more only take time (seconds on COCO)."""


@dataclass(frozen=True)
class BoxCounts:
    """Counts over some images.

    Attributes:
        images: Number of images.
        with_boxes: Number of those with at least one box.
        classes: Number of boxes of each class.
    """

    images: int
    with_boxes: int
    classes: Sequence[int]

    @property
    def boxes(self) -> int:
        """Number of boxes."""
        return sum(self.classes)


@dataclass(frozen=True)
class PseudoCounts(BoxCounts):
    """Counts of pseudo-boxes.

    Attributes:
        mean: Their mean score, in [0, 1]; nan without any.
        lowest: Their lowest score, in [0, 1]; nan without any.
    """

    mean: float
    lowest: float


def count_labels(dataset: Any, num_classes: int) -> BoxCounts:
    """Count the boxes of the labelled images, without crowds, which training ignores.

    Args:
        dataset: A run's training data. The first of its data sets with boxes is counted, on at
            most 10,000 images spread evenly over it.
        num_classes: Number of classes.

    Returns:
        The counts; all zero boxes if no data set has any.
    """
    counts = BoxCounts(0, 0, [0] * num_classes)
    for source in getattr(dataset, 'datasets', [dataset]):
        counts = _count_source(source, num_classes)
        if counts.boxes:
            break
    return counts


def _count_source(source: Any, num_classes: int) -> BoxCounts:
    classes = [0] * num_classes
    with_boxes = 0
    chosen = spread(len(source), SAMPLED)
    for index in chosen:
        instances = source.get_data_info(index).get('instances', [])
        labels = [x['bbox_label'] for x in instances if not x.get('ignore_flag')]
        with_boxes += bool(labels)
        for label in labels:
            classes[label] += 1
    return BoxCounts(len(chosen), with_boxes, classes)


class PseudoTally:
    """Sums over pseudo-boxes, on their own device; only :meth:`counts` waits for a GPU.

    Args:
        num_classes: Number of classes.
    """

    def __init__(self, num_classes: int) -> None:
        self._images = self._with_boxes = 0
        # float64 keeps whole numbers exact. The last entry is the sum of the scores.
        self._sums = torch.zeros(num_classes + 1, dtype=torch.float64)
        self._lowest = torch.full((), torch.inf, dtype=torch.float64)

    def add(self, samples: Sequence[DetDataSample]) -> None:
        """Count images whose ``gt_instances`` are pseudo-boxes with ``labels`` and ``scores``."""
        self._images += len(samples)
        taught = [s.gt_instances for s in samples if len(s.gt_instances)]
        self._with_boxes += len(taught)
        if not taught:
            return
        labels = torch.cat([x.labels for x in taught])
        scores = torch.cat([x.scores for x in taught]).to(torch.float64)
        self._sums = self._sums.to(labels.device)
        self._sums.index_add_(0, labels, torch.ones_like(scores))
        self._sums[-1] += scores.sum()
        self._lowest = self._lowest.to(labels.device).minimum(scores.amin())

    def counts(self) -> PseudoCounts:
        """The counts of all ranks together; every rank must call this."""
        images = torch.tensor([self._images, self._with_boxes], dtype=torch.float64)
        sums = torch.cat([images, self._sums.cpu()])
        lowest = self._lowest.cpu()
        all_reduce(sums)
        all_reduce(lowest, 'min')
        seen, with_boxes, *classes, scores = sums.tolist()
        boxes = int(sum(classes))
        return PseudoCounts(
            int(seen),
            int(with_boxes),
            [int(count) for count in classes],
            mean=scores / boxes if boxes else torch.nan,
            lowest=lowest.item() if boxes else torch.nan,
        )

    def state_dict(self) -> dict[str, Any]:
        """This rank's sums, for a checkpoint."""
        return {
            'images': self._images,
            'with_boxes': self._with_boxes,
            'sums': self._sums.tolist(),
            'lowest': self._lowest.item(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint, which holds only the first rank's sums."""
        if get_rank() == 0:
            self._images, self._with_boxes = state['images'], state['with_boxes']
            self._sums = torch.tensor(state['sums'], dtype=torch.float64)
            self._lowest = torch.tensor(state['lowest'], dtype=torch.float64)
