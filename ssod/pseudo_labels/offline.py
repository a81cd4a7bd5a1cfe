"""Pseudo-labels made once and stored in a file: COCO JSON whose annotations have scores."""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import accumulate, pairwise
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import torch
from mmdet.structures import DetDataSample
from mmengine.config import Config, ConfigDict
from mmengine.model import BaseModel
from mmengine.structures import InstanceData
from rich.console import Console

from ssod.checks.coco import refuse_wrong_coco
from ssod.data.coco_json import read_coco, write_json
from ssod.data.data_sets import data_sets_of
from ssod.data.load_image import printable
from ssod.files import write_whole
from ssod.plain_detector import scored_loader
from ssod.progress import progress_bar
from ssod.projection import clip_boxes, project_boxes, view_to_view
from ssod.pseudo_labels.images_to_label import Batch, ImagesToLabel
from ssod.pseudo_labels.names import name_of

Entry = dict[str, Any]
"""One image: ``file_name``, ``size`` (height, width), and its ``boxes``, ``scores``, ``labels``."""


def label_images(
    cfg: Config, model: BaseModel, classes: Sequence[str], path: Path, source: str, min_score: float
) -> int:
    """Let a model label all unlabelled images of a config, once and without augmentation.

    Images are prepared as for validation. Finished images are stored next to the file, and an
    interrupted call continues from there; a progress bar on stderr shows the time left. Images that
    cannot be read are skipped, and listed on stderr at the end.

    Args:
        cfg: The config with the images, and how to prepare and batch them (``val_dataloader``).
        model: The model that predicts, on the device to use.
        classes: Names of the model's labels.
        path: The COCO JSON to write, whole or not at all.
        source: Where the labels come from, such as the checkpoint. An interrupted call is started
            over instead of continued if the source, ``min_score``, the weights, the config's model
            or preparation, or the places of the images have changed.
        min_score: Boxes with lower scores are left out, in [0, 1].

    Returns:
        The number of images.

    Raises:
        ValueError: If ``min_score`` is out of its range, the config has no unlabelled images, or
            none of them can be read.
    """
    if not 0 <= min_score <= 1:
        raise ValueError(f'score_thr is {min_score}, but must be in [0, 1]')
    images, steps = _images_of(cfg)
    info = {'source': source, 'min_score': min_score, 'images': images.root}
    header = {
        **info,
        'places': images.places,
        'config': _digest_of_config([cfg.model, steps]),
        'weights': _digest_of_weights(model),
    }
    begun = path.with_name(f'.{path.name}.begun')
    begun.parent.mkdir(parents=True, exist_ok=True)
    present = set(images.names)
    entries = {entry['file_name']: entry for entry in _read_begun(begun, header)}
    done = {name: entry for name, entry in entries.items() if name in present}
    broken: list[str] = []
    lines = [json.dumps(line) + '\n' for line in (header, *done.values())]
    # Replaced at once: an interruption in between would lose finished images.
    write_whole(begun, ''.join(lines).encode())
    with begun.open('a', encoding='utf-8') as file:
        for entry in _label(cfg, model.eval(), images, set(done), min_score, broken):
            file.write(json.dumps(entry) + '\n')
            file.flush()
            done[entry['file_name']] = entry
    if broken and not done:
        begun.unlink()
        raise ValueError(f'none of the {len(broken)} images could be read: {broken[0]}')
    ordered = [done[name] for name in images.names if name in done]
    write_json(path, as_coco(ordered, classes, info))
    begun.unlink()
    _tell_broken(broken, len(present), images.left_out)
    return len(ordered)


def _images_of(cfg: Config) -> tuple[ImagesToLabel, list[Any]]:
    """A config's unlabelled images, and the steps that prepare them."""
    unlabeled = [d for d in data_sets_of(cfg, ['train']) if d.role == 'unlabeled']
    if not unlabeled:
        raise ValueError(f'{cfg.filename}: train_dataloader has no unlabelled images (TwoViews)')
    steps = [t for t in _loader(cfg).dataset.pipeline if t.type != 'LoadAnnotations']
    return ImagesToLabel(unlabeled, steps), steps


def _loader(cfg: Config) -> ConfigDict:
    """The validation loader, or else the test loader, which prepares images."""
    return cfg.get('val_dataloader') or scored_loader(cfg)[1]


def _digest_of_config(parts: Sequence[Any]) -> str:
    """A digest of everything in the config that affects the predictions."""
    text = json.dumps(parts, sort_keys=True, default=repr)
    return hashlib.sha256(text.encode()).hexdigest()


def _digest_of_weights(model: BaseModel) -> str:
    """A digest of a model's weights, whatever the name of their checkpoint."""
    digest = hashlib.sha256()
    for name, value in model.state_dict().items():
        digest.update(name.encode())
        if torch.is_tensor(value):
            flat = value.detach().cpu().reshape(-1).view(torch.uint8)
            digest.update(flat.numpy().tobytes())
    return digest.hexdigest()


def _read_begun(path: Path, header: Entry) -> list[Entry]:
    """Finished images of an interrupted call, if they would be labelled the same way now."""
    lines: list[Entry] = []
    if path.is_file():
        with suppress(ValueError):
            lines.extend(json.loads(line) for line in path.open(encoding='utf-8'))
    return lines[1:] if lines[:1] == [header] else []


@torch.no_grad()
def _label(
    cfg: Config,
    model: BaseModel,
    images: ImagesToLabel,
    done: set[str],
    min_score: float,
    broken: list[str],
) -> Iterator[Entry]:
    """Label the remaining images one by one; reasons for unreadable ones go into ``broken``."""
    if done.issuperset(images.names):
        return
    settings = _loader(cfg)
    loader = images.loader(done, settings.batch_size, settings.num_workers)
    batch: Batch
    with progress_bar() as bar:
        for batch in bar.track(loader, description='labelling images'):
            broken += batch.broken
            found = model.test_step(batch.data) if batch.names else []
            for name, sample in zip(batch.names, found, strict=True):
                if is_text(name):
                    yield entry_of(sample, name, min_score)
                else:
                    broken.append(f'{name!a}: its name is not UTF-8; rename it')


def _tell_broken(broken: Sequence[str], total: int, left_out: Sequence[str]) -> None:
    """Name and count the images that were skipped, after places where more may be."""
    lines = [f'skipped: {why}' for why in (*left_out, *broken)]
    if broken:
        lines.append(f'skipped: {len(broken)} of {total} images that cannot be read')
    for line in lines:
        Console(stderr=True).print(line, markup=False, highlight=False, soft_wrap=True)


def is_text(name: str) -> bool:
    """Whether a file's name is UTF-8; in JSON, any other name could not be read back."""
    return not any('\ud800' <= letter <= '\udfff' for letter in name)


def entry_of(sample: DetDataSample, file_name: str, min_score: float) -> Entry:
    """What a model found in one image.

    Args:
        sample: With ``pred_instances`` in pixels of the image file.
        file_name: Name of the file.
        min_score: Boxes with lower scores are left out, in [0, 1], as are boxes outside the image.
    """
    found = sample.pred_instances
    found = found[(found.scores >= min_score) & found.bboxes.isfinite().all(dim=1)]
    # Some detectors give boxes that reach outside the image, or lie only in the padding.
    inside = clip_boxes(found.bboxes, sample.ori_shape[:2]).tolist()
    boxes = [[round(x, 2) for x in box] for box in inside]
    kept = [i for i, (x1, y1, x2, y2) in enumerate(boxes) if x2 > x1 and y2 > y1]
    scores, labels = found.scores.tolist(), found.labels.tolist()
    return {
        'file_name': file_name,
        'size': [int(side) for side in sample.ori_shape[:2]],
        'boxes': [boxes[i] for i in kept],
        'scores': [round(scores[i], 4) for i in kept],
        'labels': [labels[i] for i in kept],
    }


def as_coco(
    entries: Sequence[Entry], classes: Sequence[str], info: Mapping[str, Any]
) -> dict[str, Any]:
    """The content of a COCO JSON.

    Args:
        entries: The images, with their boxes.
        classes: Name of each label.
        info: Where the boxes come from.

    Returns:
        ``info``, ``images``, ``annotations`` with a ``score`` each, and ``categories``; ids begin
        at 1.
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
            refuse_wrong_coco(content, str(path), 'labeled')
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
        stored.bboxes = project_boxes(stored.bboxes, view_to_view(DetDataSample(), sample))
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
