"""Precision and recall of the pseudo-boxes against the hidden truth, for diagnosis only."""

import logging
import os
from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from itertools import accumulate, chain, pairwise
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import torch
from mmdet.registry import HOOKS
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import Runner
from mmengine.structures import InstanceData

from ssod.checks.coco import refuse_wrong_coco
from ssod.checks.findings import Finding, finding_of, some
from ssod.checks.reports import Report
from ssod.data.coco_json import is_ignored, read_coco
from ssod.data.sources import ImageSources
from ssod.projection import project_boxes
from ssod.pseudo_labels.names import name_of
from ssod.pseudo_labels.verdicts import judge
from ssod.strict import check_ranges, strict_settings


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

    def in_view(self, sample: DetDataSample) -> tuple[InstanceData, InstanceData] | None:
        """The true boxes of an image in the pixels of one of its views.

        Args:
            sample: The view.

        Returns:
            The boxes to find, and the ignored ones, such as crowds; ``None`` if the file lacks the
            image. Both have ``bboxes`` (N, 4), clipped to the view, and ``labels`` (N,); boxes with
            less than a pixel of width or height in the view are left out.
        """
        name = name_of(sample.img_path, self._ids)
        if name is None:
            return None
        annotations = self._annotations.get(self._ids[name], [])
        xywh = torch.tensor([a['bbox'] for a in annotations], dtype=torch.float32).reshape(-1, 4)
        boxes = torch.cat([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], dim=1)
        labels = torch.tensor([self._labels[a['category_id']] for a in annotations]).long()
        ignored = torch.tensor([is_ignored(a) for a in annotations]).bool()
        matrix = torch.as_tensor(sample.metainfo.get('homography_matrix', np.eye(3)))
        boxes = project_boxes(boxes, matrix, sample.img_shape)
        visible = (boxes[:, 2:] - boxes[:, :2] >= 1).all(dim=1)
        true = InstanceData(bboxes=boxes, labels=labels)
        return true[visible & ~ignored], true[visible & ignored]


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
