"""Precision and recall of the pseudo-boxes against the hidden truth, for diagnosis only."""

import logging
from collections import deque
from collections.abc import Sequence
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmdet.registry import HOOKS
from mmdet.structures import DetDataSample
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import Runner
from mmengine.structures import InstanceData

from ssod.data.sources import ImageSources
from ssod.pseudo_labels.hidden_truth import HiddenTruth
from ssod.pseudo_labels.verdicts import judge
from ssod.strict import check_ranges, strict_settings


@HOOKS.register_module()
@strict_settings
class PseudoLabelQualityHook(Hook):
    """Logs how good the pseudo-boxes are.

    ``pseudo_boxes`` is their number per image, logged even without ``ann_file``.
    ``pseudo_precision`` and ``pseudo_recall`` compare them with the hidden truth, which is never
    used for training. A box is right as in the report: its IoU with a true box of its class is at
    least 0.5, and no box with a higher score has found that one. The two leave out images that the
    truth lacks, and wrong boxes in a crowd of their class.

    Args:
        ann_file: COCO JSON with the hidden truth of the unlabelled images; ``None`` if there is
            none.
        window: Number of iterations that the figures cover, at least 1.

    Raises:
        FileNotFoundError: If ``ann_file`` does not exist when training starts.
        ValueError: If ``window`` is out of its range, or ``ann_file`` has none of the unlabelled
            images, or an entry that fits several of them.
    """

    priority = 'LOW'
    """After the teacher's hook, which makes the pseudo-boxes."""

    def __init__(self, ann_file: str | None = None, window: int = 50) -> None:
        check_ranges('PseudoLabelQualityHook', ('window', window, window >= 1, 'at least 1'))
        self.ann_file = ann_file
        self._counts: deque[list[int]] = deque(maxlen=window)

    def before_train(self, runner: Runner) -> None:
        """Read the hidden truth."""
        if runner.iter == 0:
            self._counts.clear()
        if self.ann_file is None:
            return
        if not Path(self.ann_file).is_file():
            raise FileNotFoundError(
                f'PseudoLabelQualityHook: ann_file {self.ann_file} does not exist; give the hidden '
                f'truth of the unlabelled images, or None'
            )
        print_log(f'reading the hidden truth {self.ann_file}', 'current', logging.INFO)
        dataset = runner.train_dataloader.dataset
        self._truth = HiddenTruth(self.ann_file, dataset.metainfo['classes'])
        if isinstance(dataset, ImageSources):
            self._truth.check(dataset.unlabeled_paths())

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Count this batch's pseudo-boxes."""
        samples = data_batch['data_samples'].get('strong', [])
        if not samples:
            return
        self._counts.append(np.sum(self._count(samples), axis=0).tolist())
        images, boxes, known, told, right, truths = np.sum(self._counts, axis=0).tolist()
        log = runner.message_hub.update_scalar
        log('train/pseudo_boxes', boxes / images)
        if known:
            log('train/pseudo_precision', right / told if told else 0.0)
            log('train/pseudo_recall', right / truths if truths else 0.0)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Save the window."""
        checkpoint['pseudo_label_quality'] = list(self._counts)

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Restore the window."""
        self._counts.extend(checkpoint.get('pseudo_label_quality', []))

    def _count(self, samples: Sequence[DetDataSample]) -> list[tuple[int, ...]]:
        """Count the boxes of strong views.

        Returns:
            For each view: images (one) and pseudo-boxes; images with a known truth (one or none),
            pseudo-boxes in them, right ones among these, and true boxes.
        """
        sizes = [len(sample.gt_instances) for sample in samples]
        if self.ann_file is None:
            return [(1, size, 0, 0, 0, 0) for size in sizes]
        pseudo = [sample.gt_instances for sample in samples]
        boxes = torch.cat([of_image.bboxes for of_image in pseudo])
        scores = torch.cat([of_image.scores for of_image in pseudo])
        # Waits for a GPU twice, whatever the number of views.
        together = torch.cat([boxes, scores[:, None]], dim=1).cpu()
        labels = torch.cat([of_image.labels for of_image in pseudo]).cpu()
        found = InstanceData(bboxes=together[:, :4], scores=together[:, 4], labels=labels)
        ends = [0, *accumulate(sizes)]
        views = zip(samples, pairwise(ends), strict=True)
        return [self._judged(sample, found[start:end]) for sample, (start, end) in views]

    def _judged(self, sample: DetDataSample, found: InstanceData) -> tuple[int, ...]:
        """Count one view's pseudo-boxes, which are on the CPU."""
        known = self._truth.in_view(sample)
        if known is None:
            return 1, len(found), 0, 0, 0, 0
        truth, crowds = known
        kinds = [verdict.kind for verdict in judge(found, truth, crowds)]
        told = len(found) - kinds.count('ignored')
        return 1, len(found), 1, told, kinds.count('right'), len(truth)
