"""Splits a COCO JSON into a labelled and an unlabelled part."""

import math
from pathlib import Path

import numpy as np

from ssod.checks.coco_fields import check_fields
from ssod.checks.findings import refuse_errors
from ssod.data.coco_json import (
    Coco,
    in_order,
    no_garbage_collection,
    part_coco,
    read_coco,
    write_json,
)
from ssod.progress import progress_bar


def draw_labeled(image_ids: list[int | str], percent: float, fold: int) -> set[int | str]:
    """Draw the labelled images, without replacement.

    Within a fold, a larger percentage always contains the images of a smaller one.

    Args:
        image_ids: All images, in any order.
        percent: Percentage to draw, rounded to whole images.
        fold: Number of the draw, 0 or more; the same number draws the same images.

    Raises:
        ValueError: If no image would be labelled or none unlabelled, or if the fold is negative.
    """
    if fold < 0:
        raise ValueError(f'fold={fold} must be at least 0')
    if not math.isfinite(percent):
        raise ValueError(f'percent={percent} must be a number above 0 and below 100')
    count = round(len(image_ids) * percent / 100)
    if not 0 < count < len(image_ids):
        raise ValueError(
            f'percent={percent:g} of {len(image_ids)} images labels {count}, but at least one must '
            f'be labelled and one unlabelled; give other percentages'
        )
    order = np.random.default_rng(fold).permutation(len(image_ids))
    ordered = in_order(image_ids)
    return {ordered[i] for i in order[:count]}


def split_coco(coco: Coco, percent: float, fold: int) -> tuple[Coco, Coco, Coco]:
    """Split a data set.

    Args:
        coco: Content of a COCO JSON; not modified.
        percent: See :func:`draw_labeled`.
        fold: See :func:`draw_labeled`.

    Returns:
        The labelled part; the unlabelled part: the other images without annotations; and the hidden
        truth: the unlabelled part with its boxes but without masks, which only diagnosis may read.
    """
    return part_coco(coco, draw_labeled([image['id'] for image in coco['images']], percent, fold))


def write_split(
    ann_file: str | Path,
    out_dir: str | Path,
    percents: list[float],
    folds: list[int],
    overwrite: bool = False,
) -> list[Path]:
    """Split a COCO JSON file, once for each percentage and fold.

    For ``instances_train2017.json``, 10 percent and fold 1 it writes
    ``instances_train2017.1@10.json`` (labelled), ``instances_train2017.1@10-unlabeled.json`` and
    ``instances_train2017.1@10-unlabeled-truth.json``. The same file is always split the same way.
    A progress bar on stderr shows the time left.

    Args:
        ann_file: The COCO JSON of all labelled images.
        out_dir: Where the parts go; created if missing.
        percents: Percentages that are labelled.
        folds: Numbers of the draws.
        overwrite: Whether to replace existing files with different content.

    Returns:
        The files, whether just written or already there.

    Raises:
        FileNotFoundError: If ``ann_file`` does not exist.
        FileExistsError: If a file with different content is in the way.
        ValueError: If ``ann_file`` is not a COCO JSON, its entries lack fields, or a percentage
            leaves a part without images.
    """
    ann_file, out_dir = Path(ann_file), Path(out_dir)
    coco = read_coco(ann_file)
    refuse_errors(check_fields(coco, str(ann_file), 'labeled'))
    out_dir.mkdir(parents=True, exist_ok=True)
    written = []
    draws = [(percent, fold) for percent in percents for fold in folds]
    with no_garbage_collection(), progress_bar() as bar:
        for percent, fold in bar.track(draws, description='splitting'):
            stem = f'{ann_file.stem}.{fold}@{percent:g}'
            names = (f'{stem}.json', f'{stem}-unlabeled.json', f'{stem}-unlabeled-truth.json')
            for name, part in zip(names, split_coco(coco, percent, fold), strict=True):
                write_json(out_dir / name, part, overwrite)
                written.append(out_dir / name)
    return written


def write_unlabeled(image_info: str | Path, ann_file: str | Path, overwrite: bool = False) -> Path:
    """Make a data set of images without annotations, such as COCO's unlabeled2017.

    ``image_info_unlabeled2017.json`` cannot be read as it is, because it has no categories. This
    writes ``instances_unlabeled2017.json`` next to it, with the labelled images' categories.

    Args:
        image_info: A JSON file with COCO's ``images``; any annotations are left out.
        ann_file: The COCO JSON of the labelled images.
        overwrite: Whether to replace an existing file with different content.

    Returns:
        The file.

    Raises:
        FileNotFoundError: If a file does not exist.
        FileExistsError: If a file with different content is in the way.
        ValueError: If a file is not a COCO JSON, or would itself be replaced.
    """
    image_info = Path(image_info)
    images = read_coco(image_info, ('images',))['images']
    categories = read_coco(ann_file, ('categories',))['categories']
    name = image_info.stem.removeprefix('image_info_')
    path = image_info.with_name(
        f'instances_{name}.json' if name != image_info.stem else f'{name}-unlabeled.json'
    )
    if path.resolve() in (image_info.resolve(), Path(ann_file).resolve()):
        raise ValueError(
            f'{path} is read, but would be overwritten without annotations; give {image_info} '
            f'another name'
        )
    content = {'images': images, 'annotations': [], 'categories': categories}
    write_json(path, content, overwrite)
    return path
