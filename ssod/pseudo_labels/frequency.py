"""Thresholds that give each class as many pseudo-boxes as it has labelled boxes."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmdet.registry import TASK_UTILS
from mmengine.structures import InstanceData
from torch import Tensor

from ssod.data.coco_json import is_ignored, read_coco
from ssod.models.semi_supervised_detector import SemiSupervisedDetector
from ssod.pseudo_labels.selectors import Selector, chosen
from ssod.strict import check_ranges, strict_settings

BINS = 400
"""Number of score bins for choosing thresholds; they are equal in the logits, because a confident
teacher's scores crowd together below 1."""
LEAST_DISTANCE = 1e-6
"""Scores closer to 0 or 1 than this are not distinguished."""


def boxes_per_image(ann_file: str, classes: Sequence[str] | None = None) -> list[float]:
    """Average number of boxes of each class in a labelled image, without crowds.

    Args:
        ann_file: COCO JSON.
        classes: Names of the classes, in order; the file's categories if ``None``.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not COCO JSON, has no images, or lacks one of the classes.
    """
    content = read_coco(ann_file)
    names = {category['id']: category['name'] for category in content['categories']}
    for name in classes or ():
        if name not in names.values():
            raise ValueError(
                f'{ann_file}: no category is called {name!r}, but FrequencySelector.classes names '
                f'it; use {", ".join(names.values())}'
            )
    if not content['images']:
        raise ValueError(f'{ann_file}: has no images to count boxes on; give the labelled file')
    boxes = (a['category_id'] for a in content['annotations'] if not is_ignored(a))
    counts = Counter(names.get(category) for category in boxes)
    return [counts[name] / len(content['images']) for name in classes or names.values()]


@TASK_UTILS.register_module()
@strict_settings
class FrequencySelector(Selector):
    """The best boxes of each class, as many per image as the labelled images have.

    Each class has the threshold above which an unlabelled image has as many boxes, on average, as a
    labelled one (LabelMatch, Chen et al. 2022, section 3.2, which assumes the same distribution for
    both). The averages are moving ones, kept as a histogram of the scores on their own device, so
    nothing waits. Because the thresholds follow the scores, it suits every kind of score, if the
    detector reports low ones too. Each rank has its own averages; a checkpoint holds the first
    rank's.

    Args:
        ann_file: COCO JSON of the labelled images, read before training.
        classes: Names of the classes in the data set's order; the file's categories if ``None``.
        share: Boxes to keep, as a share of the number in the labels, above 0. Early in a run the
            teacher finds fewer right ones.
        decay: Decay of the averages with each image, in [0.9, 1).
        least: Boxes with lower scores are never kept, in [0, 1].

    Raises:
        ValueError: If a setting is out of its range; before training, if the number of classes is
            not the data's.
    """

    def __init__(
        self,
        ann_file: str,
        classes: Sequence[str] | None = None,
        share: float = 1.0,
        decay: float = 0.999,
        least: float = 0.3,
    ) -> None:
        check_ranges(
            'FrequencySelector',
            ('share', share, share > 0, 'above 0'),
            ('decay', decay, 0.9 <= decay < 1, 'in [0.9, 1)'),
            ('least', least, 0 <= least <= 1, 'in [0, 1]'),
        )
        self.ann_file = ann_file
        self.classes = classes
        self.share = share
        self.decay = decay
        self.least = least
        self._due: Tensor | None = None
        self._histograms = torch.zeros(0, BINS)
        self._images = 0.0

    def check(self, model: SemiSupervisedDetector, num_classes: int) -> None:
        """See :class:`~ssod.pseudo_labels.selectors.Selector`."""
        count = len(self._due_on(torch.device('cpu')))
        source = f'ann_file {self.ann_file}' if self.classes is None else 'classes'
        wanted = f"{num_classes}; give classes the data set's, in its order"
        check_ranges(
            'FrequencySelector',
            (f'number of classes in {source}', count, count == num_classes, wanted),
        )

    def __call__(self, predictions: InstanceData, step: int) -> InstanceData:
        """Keep the best of each class; see :class:`~ssod.pseudo_labels.selectors.Selector`."""
        scores: Tensor = predictions.scores.float()
        labels: Tensor = predictions.labels
        due = self._due_on(scores.device)
        bins = _bins(scores)
        self._histograms = self._histograms * self.decay
        self._histograms.index_put_((labels, bins), torch.ones_like(scores), accumulate=True)
        self._images = self.decay * self._images + 1
        # How many boxes of an image reach each bin, and how many the next one; the threshold is
        # where their number is nearest to the expected one.
        reaching = self._histograms.flip(1).cumsum(dim=1).flip(1) / self._images
        above = reaching.roll(-1, dims=1)
        above[:, -1] = 0
        too_many = (reaching + above > 2 * due[:, None] - 1e-6).sum(dim=1)
        return chosen(predictions, (bins >= too_many[labels]) & (scores >= self.least))

    def _due_on(self, device: torch.device) -> Tensor:
        """Expected boxes of each class per image, (C,)."""
        if self._due is None:
            due = torch.tensor(boxes_per_image(self.ann_file, self.classes))
            self._due = self.share * due
        if self._histograms.shape != (len(self._due), BINS):
            self._histograms, self._images = torch.zeros(len(self._due), BINS, device=device), 0.0
        self._due, self._histograms = self._due.to(device), self._histograms.to(device)
        return self._due

    def state_dict(self) -> dict[str, Any]:
        """The averages, for a checkpoint."""
        return {'histograms': self._histograms.cpu(), 'images': self._images}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on with the averages of a checkpoint."""
        self._histograms, self._images = state['histograms'], state['images']


def _bins(scores: Tensor) -> Tensor:
    """The bin of each score, (N,)."""
    logits = scores.logit(eps=LEAST_DISTANCE)
    most = math.log(1 / LEAST_DISTANCE - 1)
    return ((logits / most + 1) * (BINS / 2)).long().clamp(0, BINS - 1)
