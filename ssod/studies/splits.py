"""Text files that say which images of a study's data sets are labelled, and which are held out.

``<data set>/fold<k>.txt`` lists the labelled images of a fold in the order they were drawn, so that
a smaller budget is the beginning of a larger one. ``<data set>/held_out.txt`` lists the validation
images that are scored once, at the end. Images are listed by their ``file_name``.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ssod.data.coco_json import Coco, part_coco, read_coco, write_json
from ssod.files import write_whole

HELD_OUT = 1 / 3
"""Share of the validation images that is held out."""


def drawn(images: Sequence[Coco], seed: int, count: int) -> list[str]:
    """Names of images drawn without replacement; the same seed draws the same ones first.

    Args:
        images: The ``images`` of a COCO JSON, in any order.
        seed: Number of the draw.
        count: How many.
    """
    names = sorted(image['file_name'] for image in images)
    return [names[i] for i in np.random.default_rng(seed).permutation(len(names))[:count]]


def labeled_names(path: Path, images: Sequence[Coco], fold: int, percents: Sequence[float]) -> Path:
    """The file of a fold. If it does not exist, as many as the largest budget needs are drawn.

    Raises:
        ValueError: If a budget has no image at all.
    """
    least, most = (round(len(images) * percent / 100) for percent in (min(percents), max(percents)))
    if least == 0:
        raise ValueError(
            f'{path}: {min(percents):g} percent of {len(images)} images is no image; use a larger '
            f'budget'
        )
    if not path.exists():
        _write(path, drawn(images, fold, most))
    return path


def held_out_names(path: Path, images: Sequence[Coco]) -> Path:
    """The file of the held-out validation images; drawn if it does not exist."""
    if not path.exists():
        _write(path, sorted(drawn(images, 0, round(len(images) * HELD_OUT))))
    return path


def write_budget(
    names: Path, train: Path, percent: float, out_dir: Path
) -> tuple[Path, Path, Path]:
    """Write the COCO JSON files of a label budget.

    Args:
        names: The fold's file.
        train: COCO JSON of all training images.
        percent: Percentage of them that is labelled.
        out_dir: Where the files go; created if missing.

    Returns:
        Files of the labelled images, of the others without annotations, and of the others' hidden
        truth; see :func:`~ssod.data.coco_json.part_coco`.

    Raises:
        ValueError: If the fold lists too few images, or one that ``train`` does not have.
    """
    coco = read_coco(train)
    count = round(len(coco['images']) * percent / 100)
    wanted = read_names(names)
    if not 0 < count <= len(wanted):
        raise ValueError(
            f'{names} names {len(wanted)} images, but {percent:g} percent of {train} are {count}; '
            f'remove it to have it drawn again'
        )
    parts = part_coco(coco, _ids(coco, wanted[:count], names, train))
    out_dir.mkdir(parents=True, exist_ok=True)
    files = out_dir / 'labeled.json', out_dir / 'unlabeled.json', out_dir / 'truth.json'
    for file, content in zip(files, parts, strict=True):
        write_json(file, content)
    return files


def write_validation(names: Path, val: Path, out_dir: Path) -> tuple[Path, Path]:
    """Write the COCO JSON files of the validation images: the scored and the held-out ones.

    Raises:
        ValueError: If ``names`` has an image that ``val`` does not.
    """
    coco = read_coco(val)
    aside = _ids(coco, read_names(names), names, val)
    scored = {image['id'] for image in coco['images']} - aside
    out_dir.mkdir(parents=True, exist_ok=True)
    files = out_dir / 'val.json', out_dir / 'held_out.json'
    for file, ids in zip(files, (scored, aside), strict=True):
        write_json(file, part_coco(coco, ids)[0])
    return files


def read_names(path: Path) -> list[str]:
    """The lines of a file that are not empty."""
    # Not splitlines(): a name may have a character that Unicode ends lines with.
    return [line for line in path.read_text(encoding='utf-8').split('\n') if line]


def _ids(coco: Coco, wanted: Sequence[str], names: Path, file: Path) -> set[int | str]:
    """Ids of the named images."""
    ids = {image['file_name']: image['id'] for image in coco['images']}
    missing = [name for name in wanted if name not in ids]
    if missing:
        raise ValueError(f'{names} names {missing[0]}, but {file} has no such image')
    return {ids[name] for name in wanted}


def _write(path: Path, names: Sequence[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, ('\n'.join(names) + '\n').encode())
