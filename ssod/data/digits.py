"""The built-in data set: scenes of handwritten digits, generated on first use."""

import dataclasses
import inspect
import json
import logging
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from mmdet.datasets import BaseDetDataset, CocoDataset
from mmdet.registry import DATASETS
from mmengine.dataset import BaseDataset
from mmengine.logging import print_log
from numpy.typing import NDArray
from PIL import Image

from ssod.data.coco_json import PARTS, Coco, part_coco, write_json
from ssod.data.load_image import Pixels
from ssod.data.scenes import DigitsScenes, compose, load_glyphs
from ssod.strict import check_keys

FORMAT_VERSION = 2
"""Raised whenever the same settings would give different files."""

VAL_SHARE = 0.2
"""Share of the handwritten digits reserved for validation scenes."""


def make_digits(root: str | Path, scenes: DigitsScenes | None = None) -> Path:
    """Generate the scenes, unless they are already there.

    The files are written next to ``root`` and moved there at the end, so ``root`` is complete or
    does not exist, even when interrupted or when several processes start at once. The same
    settings give the same bytes.

    Args:
        root: The data set's directory: ``images/{train,val}/000000.png`` and
            ``annotations/{labeled,unlabeled,unlabeled_truth,train,val}.json``. ``unlabeled.json``
            has no annotations; those of its images are in ``unlabeled_truth.json``, for diagnosis
            only, and in ``train.json``: all training images, for studies that split them.
        scenes: The settings; the defaults if ``None``.

    Returns:
        ``root`` as a path.

    Raises:
        ValueError: If ``root`` holds something else, or scenes with other settings.
    """
    root, scenes = Path(root), scenes or DigitsScenes()
    if _is_made(root, scenes):
        return root
    print_log(
        f'generating {scenes.train_images} + {scenes.val_images} scenes of handwritten digits '
        f'in {root}',
        'current',
        logging.INFO,
    )
    target = root.resolve()
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f'.{target.name}-', dir=target.parent) as place:
        made = Path(place) / target.name
        _write_all(made, scenes)
        try:
            os.rename(made, target)
        except OSError:
            # Another process was first; _is_made checks that it made the same.
            if not _is_made(root, scenes):
                raise
    return root


def _is_made(root: Path, scenes: DigitsScenes) -> bool:
    """Whether the scenes are in ``root``; an error if something else is."""
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return False
    try:
        found = json.loads((root / 'digits.json').read_text(encoding='utf-8'))
    except (OSError, ValueError):
        raise ValueError(
            f'{root} exists but holds no digits scenes (no readable digits.json); remove it or '
            f'set another data_root'
        ) from None
    wanted = _description(scenes)
    differing = sorted(key for key in found.keys() | wanted if found.get(key) != wanted.get(key))
    if differing:
        key = differing[0]
        raise ValueError(
            f'{root} holds digits scenes made with {key}={found.get(key)}, but the config asks for '
            f'{key}={wanted.get(key)}; remove {root} to have them generated again'
        )
    return True


def _description(scenes: DigitsScenes) -> dict[str, Any]:
    """The content of ``digits.json``, as it is read back."""
    text = json.dumps({'format_version': FORMAT_VERSION, **dataclasses.asdict(scenes)})
    description: dict[str, Any] = json.loads(text)
    return description


def _write_all(root: Path, scenes: DigitsScenes) -> None:
    glyphs, labels = load_glyphs()
    order = np.random.default_rng([scenes.seed, 2]).permutation(len(glyphs))
    cut = round(len(glyphs) * VAL_SHARE)
    (root / 'annotations').mkdir(parents=True)
    parts = (('train', scenes.train_images, order[cut:]), ('val', scenes.val_images, order[:cut]))
    coco = {}
    for number, (part, count, pool) in enumerate(parts):
        some = [glyphs[i] for i in pool]
        coco[part] = _write_part(root / 'images' / part, number, count, some, labels[pool], scenes)
    _write_annotations(root / 'annotations', coco, scenes)
    write_json(root / 'digits.json', _description(scenes))


def _write_part(
    folder: Path,
    part: int,
    count: int,
    glyphs: list[Pixels],
    labels: NDArray[np.int64],
    scenes: DigitsScenes,
) -> Coco:
    """Write the images of one part, and return its COCO JSON."""
    folder.mkdir(parents=True)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for index in range(count):
        # Its own generator: a scene stays the same however many there are.
        rng = np.random.default_rng([scenes.seed, part, index])
        scene, objects = compose(rng, glyphs, scenes)
        name = f'{index:06d}.png'
        # Noise hardly compresses, and uncompressed it loads in a third of the time.
        Image.fromarray(scene).save(folder / name, compress_level=0)
        size = {'width': scenes.image_size, 'height': scenes.image_size}
        images.append({'id': index + 1, 'file_name': name, **size})
        for glyph, (x1, y1, x2, y2) in objects:
            annotations.append(
                {
                    'id': len(annotations) + 1,
                    'image_id': index + 1,
                    'category_id': int(labels[glyph]) + 1,
                    'bbox': [x1, y1, x2 - x1, y2 - y1],
                    'area': (x2 - x1) * (y2 - y1),
                    'iscrowd': 0,
                }
            )
    categories = [{'id': digit + 1, 'name': str(digit)} for digit in range(10)]
    return {'images': images, 'annotations': annotations, 'categories': categories}


def _write_annotations(
    folder: Path,
    coco: dict[str, Coco],
    scenes: DigitsScenes,
) -> None:
    chosen = np.random.default_rng([scenes.seed, 3]).permutation(scenes.train_images)
    labeled = {int(i) + 1 for i in chosen[: scenes.num_labeled]}
    names = ('labeled', 'unlabeled', 'unlabeled_truth')
    parted = dict(zip(names, part_coco(coco['train'], labeled), strict=True))
    for name, content in {**parted, **coco}.items():
        write_json(folder / f'{name}.json', {part: content[part] for part in PARTS})


@DATASETS.register_module()
class DigitsDataset(CocoDataset):
    """The built-in scenes of handwritten digits, generated on first use.

    Args:
        data_root: Where they are, or will be generated.
        scenes: Settings of :class:`DigitsScenes` that differ from the defaults.
        **kwargs: As for mmdet's ``CocoDataset``.

    Raises:
        ValueError: If a setting is unknown, or ``data_root`` holds something else.
    """

    METAINFO: ClassVar[dict[str, Any]] = {
        'classes': tuple(str(digit) for digit in range(10)),
        'palette': [
            (230, 25, 75),
            (60, 180, 75),
            (255, 225, 25),
            (0, 130, 200),
            (245, 130, 48),
            (145, 30, 180),
            (70, 240, 240),
            (240, 50, 230),
            (210, 245, 60),
            (250, 190, 212),
        ],
    }

    def __init__(
        self,
        data_root: str = 'data/digits/',
        scenes: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        known = [*inspect.signature(BaseDataset).parameters]
        known += [*inspect.signature(BaseDetDataset).parameters]
        check_keys('DigitsDataset', kwargs, [k for k in known if k not in ('args', 'kwargs')])
        settings = dict(scenes or {})
        fields = [field.name for field in dataclasses.fields(DigitsScenes)]
        check_keys('DigitsScenes', settings, fields)
        make_digits(data_root, DigitsScenes(**settings))
        super().__init__(data_root=data_root, **kwargs)
