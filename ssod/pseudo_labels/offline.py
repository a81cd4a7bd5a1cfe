"""Pseudo-labels made once and kept in a file: COCO JSON whose annotations have scores."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import torch
from mmdet.registry import DATASETS
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.runner import Runner
from mmengine.structures import InstanceData
from rich.console import Console
from rich.progress import track

from ssod.checks.data_sets import DataSet, data_sets_of
from ssod.data.coco_json import read_coco, write_json

Entry = dict[str, Any]
"""One image: ``file_name``, ``size`` (height, width), and its ``boxes``, ``scores``, ``labels``."""


def label_images(cfg: Config, model: BaseModel, path: Path, source: str, min_score: float) -> int:
    """Let a model label all unlabelled images of a config, once and not augmented.

    They are seen as images for validation are. What is done is kept beside the file, and an
    interrupted call goes on from there; a progress bar on stderr tells the time left.

    Args:
        cfg: Says which images, and how they are prepared and batched (``val_dataloader``).
        model: Predicts; on the device where it is to work.
        path: The COCO JSON to be written, whole or not at all.
        source: Where the labels are from, such as the checkpoint; labels that were begun from
            another one are begun anew.
        min_score: Boxes of lower scores are left out, in [0, 1].

    Returns:
        The number of images.

    Raises:
        ValueError: If the config has no unlabelled images.
    """
    unlabeled = [d for d in data_sets_of(cfg, ['train']) if d.role == 'unlabeled']
    if not unlabeled:
        raise ValueError(f'{cfg.filename}: train_dataloader has no unlabelled images (TwoViews)')
    begun = path.with_name(f'.{path.name}.begun')
    begun.parent.mkdir(parents=True, exist_ok=True)
    header = {'source': source, 'min_score': min_score}
    entries = _read_begun(begun, header)
    done = {entry['file_name'] for entry in entries}
    with begun.open('w', encoding='utf-8') as file:
        for line in (header, *entries):
            file.write(json.dumps(line) + '\n')
        for entry in _label(cfg, model.eval(), unlabeled, done, min_score):
            file.write(json.dumps(entry) + '\n')
            file.flush()
            entries.append(entry)
    classes = unlabeled[0].classes or ()
    write_json(path, as_coco(entries, list(classes), header))
    begun.unlink()
    return len(entries)


def _read_begun(path: Path, header: Entry) -> list[Entry]:
    """What an interrupted call left, as far as it is whole and from the same source."""
    lines: list[Entry] = []
    if path.is_file():
        with suppress(ValueError):
            lines.extend(json.loads(line) for line in path.open(encoding='utf-8'))
    return lines[1:] if lines[:1] == [header] else []


@torch.no_grad()
def _label(
    cfg: Config,
    model: BaseModel,
    data_sets: Sequence[DataSet],
    done: set[str],
    min_score: float,
) -> Iterator[Entry]:
    """Label what is not done yet, image by image."""
    steps = [t for t in cfg.val_dataloader.dataset.pipeline if t.type != 'LoadAnnotations']
    for data_set in data_sets:
        built = DATASETS.build({**data_set.cfg, 'pipeline': steps})
        root = data_set.image_dir
        paths = [built.get_data_info(i)['img_path'] for i in range(len(built))]
        names = [PurePath(os.path.relpath(path, root)).as_posix() for path in paths]
        left = [i for i, name in enumerate(names) if name not in done]
        if not left:
            continue
        built.get_subset_(left)
        loader = Runner.build_dataloader(
            dict(
                batch_size=cfg.val_dataloader.batch_size,
                num_workers=cfg.val_dataloader.num_workers,
                sampler=dict(type='DefaultSampler', shuffle=False),
                dataset=built,
            )
        )
        rest = iter([names[i] for i in left])
        for batch in track(loader, 'labelling images', console=Console(stderr=True)):
            for sample in model.test_step(batch):
                yield entry_of(sample, next(rest), min_score)


def entry_of(sample: DetDataSample, file_name: str, min_score: float) -> Entry:
    """What a model found in one image.

    Args:
        sample: With ``pred_instances`` in pixels of the image's file.
        file_name: What the file is called.
        min_score: Boxes of lower scores are left out, in [0, 1].
    """
    found = sample.pred_instances
    found = found[found.scores >= min_score]
    return {
        'file_name': file_name,
        'size': [int(side) for side in sample.ori_shape[:2]],
        'boxes': [[round(x, 2) for x in box] for box in found.bboxes.tolist()],
        'scores': [round(score, 4) for score in found.scores.tolist()],
        'labels': found.labels.tolist(),
    }


def as_coco(
    entries: Sequence[Entry], classes: Sequence[str], info: Mapping[str, Any]
) -> dict[str, Any]:
    """The content of a COCO JSON.

    Args:
        entries: The images, with their boxes.
        classes: Name of each label.
        info: Where the boxes are from.

    Returns:
        ``info``, ``images``, ``annotations`` with a ``score`` each, and ``categories``; ids count
        from 1.
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, entry in enumerate(entries, 1):
        height, width = entry['size']
        image = {'id': number, 'file_name': entry['file_name'], 'height': height, 'width': width}
        images.append(image)
        of_image = zip(entry['boxes'], entry['scores'], entry['labels'], strict=True)
        for (x1, y1, x2, y2), score, label in of_image:
            sides = [round(x2 - x1, 2), round(y2 - y1, 2)]
            annotations.append(
                {
                    'id': len(annotations) + 1,
                    'image_id': number,
                    'category_id': label + 1,
                    'bbox': [x1, y1, *sides],
                    'area': round(sides[0] * sides[1], 2),
                    'iscrowd': 0,
                    'score': score,
                }
            )
    categories = [{'id': i, 'name': name} for i, name in enumerate(classes, 1)]
    return {
        'info': dict(info),
        'images': images,
        'annotations': annotations,
        'categories': categories,
    }


class StoredLabels:
    """Pseudo-labels from a file, found by the paths of their images.

    Args:
        path: COCO JSON; annotations without a ``score`` (corrected by hand, say) count as certain.
        classes: Names of the data set's classes, in its order.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no COCO JSON, or has a class that the data set has not.
    """

    def __init__(self, path: str | Path, classes: Sequence[str]) -> None:
        self.path = path
        content = read_coco(path)
        label_of = _label_of_category(content['categories'], classes, path)
        annotations = content['annotations']
        annotations.sort(key=lambda a: a['image_id'])
        boxes = np.array([a['bbox'] for a in annotations], np.float32).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        self._boxes = torch.from_numpy(boxes)
        self._scores = torch.tensor([a.get('score', 1.0) for a in annotations])
        self._labels = torch.tensor([label_of[a['category_id']] for a in annotations]).long()
        images = content['images']
        ids = np.array([a['image_id'] for a in annotations], np.int64)
        wanted = np.array([image['id'] for image in images], np.int64)
        starts, stops = (ids.searchsorted(wanted, side) for side in ('left', 'right'))
        rows = zip(images, starts.tolist(), stops.tolist(), strict=True)
        self._rows = {image['file_name']: slice(start, stop) for image, start, stop in rows}

    def of(self, img_path: str) -> InstanceData:
        """One image's boxes in pixels of its file, with ``scores`` and ``labels``.

        Args:
            img_path: Its path, which ends with the ``file_name`` that the JSON has.

        Raises:
            ValueError: If the file tells nothing of the image, not even that it is empty.
        """
        parts = PurePath(img_path).parts
        for start in range(len(parts)):
            row = self._rows.get('/'.join(parts[start:]))
            if row is not None:
                return InstanceData(
                    bboxes=self._boxes[row], scores=self._scores[row], labels=self._labels[row]
                )
        raise ValueError(f'{self.path} has no image {img_path}; make the pseudo-labels anew')


def _label_of_category(
    categories: Sequence[Mapping[str, Any]], classes: Sequence[str], path: str | Path
) -> dict[int, int]:
    """The class number of each category id."""
    numbers = {name: number for number, name in enumerate(classes)}
    for category in categories:
        if category['name'] not in numbers:
            raise ValueError(
                f'{path}: category {category["name"]!r} is no class of the data set, which has '
                f'{", ".join(classes)}'
            )
    return {category['id']: numbers[category['name']] for category in categories}
