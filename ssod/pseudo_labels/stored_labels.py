"""Pseudo-labels read from a file: COCO JSON whose annotations have scores."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData

from ssod.checks.coco import check_coco
from ssod.checks.findings import refuse_errors
from ssod.data.coco_json import is_text, read_coco
from ssod.data.load_image import printable
from ssod.projection import file_to_view, project_boxes
from ssod.pseudo_labels.names import name_of


class StoredLabels:
    """Pseudo-labels from a file, looked up by image path.

    Args:
        path: COCO JSON; annotations without a ``score`` (say, corrected by hand) have a score of 1.
        classes: Names of the data set's classes, in its order.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not COCO JSON, has errors, a class that the data set lacks, or an image
            twice.
    """

    def __init__(self, path: str | Path, classes: Sequence[str]) -> None:
        self.path = path
        content = read_coco(path)
        images = content['images']
        if images:
            refuse_errors(check_coco(content, str(path), 'labeled'))
        label_of = _label_of_category(content['categories'], classes, path)
        _check_names(images, path)
        numbers = {image['id']: number for number, image in enumerate(images)}
        annotations = content['annotations']
        annotations.sort(key=lambda a: numbers[a['image_id']])
        boxes = np.array([a['bbox'] for a in annotations], np.float32).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        self._boxes = torch.from_numpy(boxes)
        scores = [1.0 if a.get('score') is None else float(a['score']) for a in annotations]
        self._scores = torch.tensor(scores)
        self._labels = torch.tensor([label_of[a['category_id']] for a in annotations]).long()
        counts = Counter(numbers[a['image_id']] for a in annotations)
        ends = [0, *accumulate(counts[number] for number in range(len(images)))]
        rows = zip(images, pairwise(ends), strict=True)
        self._rows = {image['file_name']: slice(*row) for image, row in rows}
        info = content.get('info')
        root = info.get('images') if isinstance(info, dict) else None
        self._root = root if isinstance(root, str) and os.path.isabs(root) else None
        self._owners: dict[str, str] = {}

    def of(self, img_path: str) -> InstanceData:
        """One image's boxes in pixels of its file, with ``scores`` and ``labels``.

        Args:
            img_path: Its path. In the folder that the file names (``info.images``), the path
                relative to that is the ``file_name``; elsewhere, if the images were moved, the path
                ends with it.

        Raises:
            ValueError: If the file lacks the image, or the entry could be another image's.
        """
        name = self._name_of(img_path)
        if name is None:
            first = '' if is_text(img_path) else 'rename it, because its name is not UTF-8, and '
            raise ValueError(
                f'{self.path} has no image {printable(img_path)}; {first}make the pseudo-labels '
                f'again'
            )
        real = os.path.realpath(img_path)
        owner = self._owners.setdefault(name, real)
        if owner != real:
            raise ValueError(
                f'{self.path}: image {name!r} could be {owner} or {real}; make the pseudo-labels '
                f'again'
            )
        row = self._rows[name]
        return InstanceData(
            bboxes=self._boxes[row], scores=self._scores[row], labels=self._labels[row]
        )

    def in_view(self, sample: DetDataSample) -> InstanceData:
        """The boxes from :meth:`of` for a view's image, in the view's pixels."""
        stored = self.of(sample.img_path)
        stored.bboxes = project_boxes(stored.bboxes, file_to_view(sample))
        return stored

    def _name_of(self, img_path: str) -> str | None:
        """The file's name for an image; ``None`` if it has no such image."""
        whole = PurePath(os.path.abspath(img_path))
        if self._root is not None and whole.is_relative_to(self._root):
            name = whole.relative_to(self._root).as_posix()
            return name if name in self._rows else None
        found = name_of(img_path, self._rows)
        return None if found is None or self._is_of_another(found, whole) else found

    def _is_of_another(self, name: str, path: PurePath) -> bool:
        """Whether the image that was labelled still exists and is not a copy of this one."""
        labelled = Path(self._root or '', name)
        if self._root is None or not labelled.is_file() or not Path(path).is_file():
            return False
        return labelled.stat().st_size != Path(path).stat().st_size


def _check_names(images: Sequence[Mapping[str, Any]], path: str | Path) -> None:
    """Refuse images with the same name, whose boxes could not be told apart."""
    counts = Counter(image['file_name'] for image in images)
    twice = [name for name, count in counts.items() if count > 1]
    if twice:
        raise ValueError(
            f'{path}: images has {len(twice)} file_name more than once, such as '
            f'{twice[0]!r}; make the pseudo-labels again'
        )


def _label_of_category(
    categories: Sequence[Mapping[str, Any]], classes: Sequence[str], path: str | Path
) -> dict[int, int]:
    """The class number of each category id."""
    numbers = {name: number for number, name in enumerate(classes)}
    for category in categories:
        if category['name'] not in numbers:
            raise ValueError(
                f'{path}: category {category["name"]!r} is not a class of the data set, which has '
                f'{", ".join(classes)}'
            )
    return {category['id']: numbers[category['name']] for category in categories}
