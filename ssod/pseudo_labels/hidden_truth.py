"""The true boxes of images that are used as unlabelled ones, for diagnosis only."""

import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path, PurePath
from typing import Any

import torch
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.structures import InstanceData

from ssod.checks.coco import check_coco
from ssod.checks.findings import Finding, finding_of, refuse_errors, some
from ssod.checks.reports import Report
from ssod.data.coco_json import is_ignored, read_coco
from ssod.projection import file_to_view, project_boxes
from ssod.pseudo_labels.names import name_of


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
        refuse_errors(check_coco(content, str(ann_file), 'labeled'))
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
        boxes = project_boxes(boxes, file_to_view(sample), sample.img_shape)
        visible = (boxes[:, 2:] - boxes[:, :2] >= 1).all(dim=1)
        true = InstanceData(bboxes=boxes, labels=labels)
        return true[visible & ~ignored], true[visible & ignored]


def check_hidden_truth(cfg: Config, reports: Sequence[Report]) -> list[Finding]:
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
