"""Labelled images in any format, and how to turn them into COCO JSON."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any

from PIL import Image

from ssod.data.load_image import BrokenImageError, LoadImage, exif_of, printable, turn_of

DIGITS = 4
"""Decimals written for pixel coordinates."""

_TIFF_SIZE = 256, 257

Corners = tuple[float, float, float, float]
"""A box as (x1, y1, x2, y2) in pixels; the image begins at 0."""


@dataclass(frozen=True)
class Box:
    """A labelled object.

    Args:
        label: Its class, counted from 0.
        corners: Where it is.
        ignored: Whether training and scoring ignore it because it is too hard.
    """

    label: int
    corners: Corners
    ignored: bool = False


@dataclass(frozen=True)
class LabeledImage:
    """An image and its boxes.

    Args:
        path: Its file.
        size: Width and height in pixels, as loaded.
        boxes: The labelled objects.
    """

    path: Path
    size: tuple[int, int]
    boxes: Sequence[Box]


@dataclass(frozen=True)
class LabeledSplits:
    """A labelled data set.

    Args:
        classes: Their names, in the order of the labels.
        splits: The images of ``train``, ``val``, ``test`` and ``trainval``, for those that have
            any.
        remarks: Anything that could have been meant differently, one line each.
    """

    classes: Sequence[str]
    splits: dict[str, list[LabeledImage]]
    remarks: list[str] = field(default_factory=list)


def image_size(path: Path) -> tuple[int, int]:
    """Width and height of an image as loaded, with its EXIF orientation applied.

    Raises:
        ValueError: If it cannot be opened.
    """
    try:
        with Image.open(path) as header:
            width, height = header.size
            turn = turn_of(header)
            if header.format == 'TIFF':  # Newer versions of Pillow already swap its size.
                exif = exif_of(header)
                width, height = (exif.get(tag, 0) for tag in _TIFF_SIZE)
    except Exception as error:  # Pillow raises many kinds of errors for damaged headers.
        return _size_of_loaded(path, error)
    return (height, width) if turn in (5, 6, 7, 8) else (width, height)


def _size_of_loaded(path: Path, error: Exception) -> tuple[int, int]:
    """The size of an image that Pillow could not open; OpenCV, which loads it, may still do so."""
    try:
        height, width = LoadImage().transform({'img_path': str(path)})['ori_shape']
    except BrokenImageError:
        raise ValueError(
            f'{printable(str(path))} cannot be opened as an image ({error}); save it again, or '
            f'remove it with its labels'
        ) from None
    return width, height


def read_lines(file: Path) -> list[str]:
    """The lines of a UTF-8 text file, with or without a byte order mark.

    Raises:
        ValueError: If it is in another encoding.
    """
    try:
        # Not splitlines(): a name may have a character that Unicode ends lines with.
        lines = StringIO(file.read_text(encoding='utf-8-sig'))
        return [line.removesuffix('\n') for line in lines]
    except UnicodeDecodeError as error:
        raise ValueError(
            f'{file} is not in UTF-8: {error.reason} at byte {error.start}; save it again in UTF-8'
        ) from None


def leave_out_empty(
    splits: Mapping[str, list[LabeledImage]], where: str
) -> tuple[dict[str, list[LabeledImage]], list[str]]:
    """Leave out splits without images.

    Args:
        splits: The images of each split.
        where: The file or folder that defines them, for the message.

    Returns:
        The splits that have images, and a remark on each of the others.

    Raises:
        ValueError: If ``train`` has no image.
    """
    empty = [name for name, images in splits.items() if not images]
    if 'train' in empty:
        raise ValueError(f'{where}: train has no image; add some')
    left = {name: images for name, images in splits.items() if images}
    return left, [f'{name} has no image, left out' for name in empty]


def clip(corners: Corners, size: tuple[int, int], where: str) -> tuple[Corners, bool]:
    """Cut off the part of a box that is outside its image.

    Args:
        corners: The box.
        size: Width and height of the image.
        where: File and place of the box, for the message.

    Returns:
        What is left, and whether more than a pixel (which may be rounding) was cut off.

    Raises:
        ValueError: If nothing is left.
    """
    width, height = size
    x1, y1, x2, y2 = corners
    left = max(x1, 0.0), max(y1, 0.0), min(x2, float(width)), min(y2, float(height))
    # Rounded as it will be written, or the written file would be invalid.
    if min(round(left[2] - left[0], DIGITS), round(left[3] - left[1], DIGITS)) <= 0:
        shown = ', '.join(f'{value:g}' for value in corners)
        raise ValueError(
            f'{where}: the box x1, y1, x2, y2 = {shown} has no area within its image of '
            f'{width} x {height}; correct or remove it'
        )
    return left, max(abs(a - b) for a, b in zip(corners, left, strict=True)) > 1


def image_root(images: Sequence[LabeledImage]) -> Path:
    """The folder that contains all images; there must be at least one."""
    return Path(os.path.commonpath([image.path.absolute().parent for image in images]))


def coco_of(
    images: Sequence[LabeledImage], names: Sequence[str], classes: Sequence[str]
) -> dict[str, Any]:
    """Labelled images as the content of a COCO JSON.

    Args:
        images: At least one; their names are relative to :func:`image_root`. Ignored boxes become
            crowds, which COCO, mmdet and this package also ignore.
        names: The class names, in the order of the labels.
        classes: All of these and maybe others, in the order of the categories.
    """
    root = image_root(images)
    ids = {name: number for number, name in enumerate(classes, 1)}
    entries: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, image in enumerate(images, 1):
        name = image.path.absolute().relative_to(root).as_posix()
        width, height = image.size
        entries.append({'id': number, 'file_name': name, 'width': width, 'height': height})
        for box in image.boxes:
            entry = _entry(box, ids[names[box.label]])
            annotations.append({'id': len(annotations) + 1, 'image_id': number, **entry})
    return {
        'info': {'images': str(root)},
        'images': entries,
        'annotations': annotations,
        'categories': [{'id': i, 'name': name} for i, name in enumerate(classes, 1)],
    }


def _entry(box: Box, category: int) -> dict[str, Any]:
    x1, y1, x2, y2 = box.corners
    width, height = x2 - x1, y2 - y1
    return {
        'category_id': category,
        'bbox': [round(value, DIGITS) for value in (x1, y1, width, height)],
        'area': round(width * height, DIGITS),
        'iscrowd': int(box.ignored),
    }
