"""Precision and recall of the pseudo-boxes against the hidden truth, for diagnosis only."""

import logging
import os
from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import torch
from mmdet.registry import HOOKS
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import bbox_overlaps
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import Runner
from mmengine.structures import InstanceData
from torch import Tensor

from ssod.checks.coco import refuse_wrong_coco
from ssod.checks.findings import Finding, finding_of, some
from ssod.checks.reports import Report
from ssod.data.coco_json import is_ignored, read_coco
from ssod.data.sources import ImageSources
from ssod.projection import project_boxes
from ssod.pseudo_labels.names import name_of
from ssod.pseudo_labels.verdicts import inside
from ssod.strict import strict_settings


def matched(
    boxes: Tensor, labels: Tensor, truth: Tensor, truth_labels: Tensor, iou: float = 0.5
) -> Tensor:
    """Which boxes (N,) match a true box of their class, each at most once, best overlap first.

    Args:
        boxes: (N, 4).
        labels: (N,).
        truth: True boxes, (M, 4).
        truth_labels: (M,).
        iou: Least intersection over union.
    """
    overlaps = bbox_overlaps(boxes.float(), truth.float())
    overlaps[labels[:, None] != truth_labels] = 0
    found = torch.zeros(len(boxes), dtype=torch.bool)
    while overlaps.numel() and overlaps.max() >= iou:
        row, column = divmod(int(overlaps.argmax()), overlaps.shape[1])
        overlaps[row], overlaps[:, column] = 0, 0
        found[row] = True
    return found


class HiddenTruth:
    """The true boxes of images that are used as unlabelled ones.

    An image is found by its name: its path ends with a ``file_name``. Ids may differ.

    Args:
        ann_file: COCO JSON.
        classes: Names of the data set's classes, in its order; other classes are left out.

    Raises:
        ValueError: If the file has errors, or no boxes of the classes.
    """

    def __init__(self, ann_file: str | Path, classes: Sequence[str]) -> None:
        self._ann_file = ann_file
        content = read_coco(ann_file)
        refuse_wrong_coco(content, str(ann_file), 'labeled')
        names = {c['id']: c['name'] for c in content['categories']}
        self._labels = {id_: classes.index(name) for id_, name in names.items() if name in classes}
        self._ids = {PurePath(i['file_name']).as_posix(): i['id'] for i in content['images']}
        self._annotations: dict[Any, list[dict[str, Any]]] = defaultdict(list)
        for annotation in content['annotations']:
            if annotation['category_id'] in self._labels:
                self._annotations[annotation['image_id']].append(annotation)
        if all(map(is_ignored, chain.from_iterable(self._annotations.values()))):
            raise ValueError(
                f'{ann_file}: has no box of the classes {some(classes)}, only of '
                f'{some(list(names.values()))}; give the truth of these classes, or None'
            )

    def check(self, paths: Iterable[str]) -> None:
        """Refuse a file about other images.

        Args:
            paths: The paths of the images.

        Raises:
            ValueError: If it has none of them, or an entry that fits several of them.
        """
        path, owners = None, dict[str, str]()
        for path in paths:
            name = name_of(path, self._ids)
            if name is None:
                continue
            owner = owners.setdefault(name, path)
            if owner != path and os.path.realpath(owner) != os.path.realpath(path):
                raise ValueError(
                    f'{self._ann_file}: image {name!r} could be {owner} or {path}; put more of '
                    f'the path into its file_name'
                )
        if path is not None and not owners:
            raise ValueError(
                f'{self._ann_file}: has none of the unlabelled images: neither {path} nor the '
                f'others end with a file_name such as {next(iter(self._ids), None)!r}; give the '
                f'truth of these images, or None'
            )

    def knows(self, sample: DetDataSample) -> bool:
        """Whether the file has the image of a view."""
        return name_of(sample.img_path, self._ids) is not None

    def in_view(self, sample: DetDataSample, ignored: bool = False) -> InstanceData:
        """The true boxes of an image in the pixels of one of its views.

        Args:
            sample: The view.
            ignored: Whether to return the ignored boxes, such as crowds, instead of the others.

        Returns:
            ``bboxes`` (N, 4), clipped to the view, and ``labels`` (N,); boxes with less than a
            pixel of width or height in the view are left out.
        """
        name = name_of(sample.img_path, self._ids)
        of_image = [] if name is None else self._annotations.get(self._ids[name], [])
        annotations = [a for a in of_image if is_ignored(a) == ignored]
        xywh = torch.tensor([a['bbox'] for a in annotations], dtype=torch.float32).reshape(-1, 4)
        boxes = torch.cat([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], dim=1)
        labels = torch.tensor([self._labels[a['category_id']] for a in annotations]).long()
        matrix = torch.as_tensor(sample.metainfo.get('homography_matrix', np.eye(3)))
        boxes = project_boxes(boxes, matrix, sample.img_shape)
        kept = (boxes[:, 2:] - boxes[:, :2] >= 1).all(dim=1)
        return InstanceData(bboxes=boxes[kept], labels=labels[kept])


def check_truth(cfg: Config, reports: Sequence[Report]) -> list[Finding]:
    """Check the hidden truth of the unlabelled images, if the config has one.

    Args:
        cfg: The config.
        reports: Reports on its data.
    """
    quality = (cfg.get('default_hooks') or {}).get('quality') or {}
    file = quality.get('ann_file')
    unlabeled = [report for report in reports if report.data_set.role == 'unlabeled']
    if not file or not unlabeled or any(r.data_set.kind == 'other' for r in unlabeled):
        return []
    try:
        truth = HiddenTruth(file, unlabeled[0].data_set.classes or ())
        truth.check(image.path for report in unlabeled for image in report.images)
    except (OSError, ValueError) as error:
        return [finding_of(error, file)]
    return []


@HOOKS.register_module()
@strict_settings
class PseudoLabelQualityHook(Hook):
    """Logs how good the pseudo-boxes are.

    ``pseudo_boxes`` is their number per image, logged even without ``ann_file``.
    ``pseudo_precision`` and ``pseudo_recall`` compare them with the hidden truth, which is never
    used for training. These two leave out images that the truth lacks, and wrong boxes in a crowd
    of their class.

    Args:
        ann_file: COCO JSON with the hidden truth of the unlabelled images; ``None`` if there is
            none.
        iou: Least IoU with a true box to count as right.
        window: Number of iterations that the figures cover.

    Raises:
        FileNotFoundError: If ``ann_file`` does not exist when training starts.
        ValueError: If it has none of the unlabelled images, or an entry that fits several of them.
    """

    priority = 'LOW'
    """After the teacher's hook, which makes the pseudo-boxes."""

    def __init__(self, ann_file: str | None = None, iou: float = 0.5, window: int = 50) -> None:
        self.ann_file = ann_file
        self.iou = iou
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

    def before_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict[str, Any] | None = None
    ) -> None:
        """Count this batch's pseudo-boxes."""
        samples = (data_batch or {})['data_samples'].get('strong', [])
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
        # Waits for a GPU twice, whatever the number of views.
        boxes, labels = (
            torch.split(torch.cat([s.gt_instances[of] for s in samples]).cpu(), sizes)
            for of in ('bboxes', 'labels')
        )
        return [self._matches(*view) for view in zip(samples, boxes, labels, strict=True)]

    def _matches(self, sample: DetDataSample, boxes: Tensor, labels: Tensor) -> tuple[int, ...]:
        if not self._truth.knows(sample):
            return 1, len(boxes), 0, 0, 0, 0
        truth = self._truth.in_view(sample)
        right = matched(boxes, labels, truth.bboxes, truth.labels, self.iou)
        pseudo = InstanceData(bboxes=boxes, labels=labels)
        forgiven = inside(pseudo, self._truth.in_view(sample, ignored=True)) & ~right
        return 1, len(boxes), 1, len(boxes) - int(forgiven.sum()), int(right.sum()), len(truth)
