"""YOLO: a text file for each labelled image, and one data.yaml.

Source: the layout of Ultralytics, https://docs.ultralytics.com/datasets/detect/.
"""

import math
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

from ssod.data.folder import EXTENSIONS, look_into
from ssod.data.labeled_images import (
    Box,
    Corners,
    LabeledImage,
    LabeledSplits,
    clip,
    image_size,
    leave_out_empty,
    read_lines,
)
from ssod.progress import with_progress

SPLITS = ('train', 'val', 'test')
"""Keys of the splits."""

OUTSIDE = 1.01
"""The largest share of an image that is accepted as rounding, as in Ultralytics."""

ENOUGH_BOXES = 10
"""With fewer boxes, those that reach outside their images may just be a few bad ones."""

_BOX = 5
_SHORTEST_POLYGON = 7


class _Counts:
    """Counts of what is worth a remark."""

    def __init__(self) -> None:
        self.without_file = 0
        self.without_image = 0
        self.sharing = 0
        self.polygons = 0
        self.clipped = 0
        self.boxes = 0

    def remarks(self) -> list[str]:
        """What was not taken literally, one line each."""
        names = ', '.join(EXTENSIONS)
        told = {
            'images without a label file, assumed to contain no objects': self.without_file,
            f'label files without an image (looked for {names}), ignored': (self.without_image),
            'images that share their label file with one of another ending': self.sharing,
            'polygons, replaced by the boxes around them': self.polygons,
            'boxes that reach outside their images, clipped': self.clipped,
        }
        return [f'{what}: {count}' for what, count in told.items() if count]

    def refuse_corners(self, file: Path) -> None:
        """Refuse labels whose boxes mostly reach outside their images, as pairs of corners do.

        Raises:
            ValueError: If they do.
        """
        if self.boxes >= ENOUGH_BOXES and self.clipped > self.boxes / 2:
            raise ValueError(
                f'{file}: {self.clipped} of {self.boxes} boxes reach outside their images; write '
                f'centre x, centre y, width and height of each as shares, not two corners'
            )


def read_yolo(file: Path) -> LabeledSplits:
    """Read a data set in YOLO format.

    The labels of ``.../images/a/b.jpg`` are in ``.../labels/a/b.txt``, or next to the image if
    there is no such folder ``labels``. A line is one of: a class and a box as centre x, centre y,
    width and height, all shares of the image; a class and a polygon, which becomes the box around
    it; or, if data.yaml has ``kpt_shape``, a class, a box and keypoints, which are dropped. An
    image whose label file is empty or missing contains no objects.

    Args:
        file: The data.yaml: ``names`` (a list, or a dict from 0 on), ``train``, ``val`` and
            ``test``, each a folder, a text file that lists images, or a list of those, in the
            folder ``path``. A ``val`` or ``test`` that does not exist or has no image is left out,
            because some exporters name one that they did not write.

    Raises:
        FileNotFoundError: If a folder or list that it names does not exist or has no image.
        ValueError: If a file or a value in it is wrong, no image of ``train`` has a label file, or
            most boxes reach outside their images.
    """
    settings = _settings(file)
    classes = _classes(settings, file)
    keypoints = _keypoints(settings, file)
    counts, splits, remarks = _Counts(), {}, []
    for split in SPLITS:
        if settings.get(split):
            paths, missing = _images(settings, split, file)
            remarks += missing
            if split == 'train' and paths:
                _check_labels(paths, file)
            if paths or not missing:
                shown = with_progress(paths, f'reading the labels of {split}')
                splits[split] = [_labeled(path, classes, keypoints, counts) for path in shown]
    counts.refuse_corners(file)
    paths = [image.path for images in splits.values() for image in images]
    counts.without_image, counts.sharing = _without_image(paths), _sharing(paths)
    splits, empty = leave_out_empty(splits, str(file))
    if not splits:
        raise ValueError(f'{file}: there is no train, val or test; name a folder of images')
    return LabeledSplits(classes, splits, counts.remarks() + remarks + empty)


def has_names(file: Path) -> bool:
    """Whether a file is YAML with the ``names`` of classes, like a data.yaml."""
    try:
        return 'names' in _settings(file)
    except (OSError, ValueError):
        return False


def _settings(file: Path) -> Mapping[str, Any]:
    try:
        settings = yaml.safe_load(file.read_text(encoding='utf-8-sig'))
    except (yaml.YAMLError, ValueError) as error:
        reason = ' '.join(str(error).split())
        raise ValueError(f'{file} is not YAML: {reason}; write it again') from None
    if not isinstance(settings, dict):
        raise ValueError(f'{file} has no settings such as names and train; add them')
    return settings


def _classes(settings: Mapping[str, Any], file: Path) -> list[str]:
    names = settings.get('names')
    if isinstance(names, dict):
        # Some tools write the numbers in quotes.
        numbered = {int(key) if str(key).isdecimal() else key: names[key] for key in names}
        names = numbered if len(numbered) == len(names) else names
        if sorted(names, key=str) != sorted(range(len(names)), key=str):
            raise ValueError(
                f'{file}: names has the keys {", ".join(map(str, names))}; number the classes '
                f'from 0 without gaps'
            )
        names = [names[label] for label in range(len(names))]
    if not isinstance(names, list) or not names:
        raise ValueError(f'{file}: names is {names!r}; list the classes')
    for label, name in enumerate(names):
        if type(name) not in (str, int, float):
            raise ValueError(
                f'{file}: YAML reads class {label} of names as {name!r}, which is not a name; put '
                f'the name in quotes'
            )
    if settings.get('nc', len(names)) not in (len(names), str(len(names))):
        raise ValueError(
            f'{file}: nc is {settings["nc"]}, but names has {len(names)} classes; correct one'
        )
    names = [str(name) for name in names]
    for label, name in enumerate(names):
        if not name.strip():
            raise ValueError(f'{file}: class {label} of names is {name!r}; give it a name')
        if name in names[:label]:
            raise ValueError(
                f'{file}: names has {name!r} as class {names.index(name)} and as class {label}; '
                f'give each its own name'
            )
    return names


def _keypoints(settings: Mapping[str, Any], file: Path) -> int:
    """How many values follow a box."""
    shape = settings.get('kpt_shape')
    if shape is None:
        return 0
    if not isinstance(shape, list) or not all(isinstance(n, int) and n > 0 for n in shape):
        raise ValueError(f'{file}: kpt_shape is {shape!r}; write [keypoints, 2 or 3], or remove it')
    return math.prod(shape)


def _images(settings: Mapping[str, Any], split: str, file: Path) -> tuple[list[Path], list[str]]:
    """The images of a split, in order, each once however its path is spelled; and remarks."""
    given = settings[split]
    found: dict[str, Path] = {}
    remarks = []
    for place in given if isinstance(given, list) else [given]:
        try:
            paths = _found(_place(settings, str(place), split, file))
        except FileNotFoundError as error:
            if split == 'train':
                raise
            remarks.append(f'left out of {split}: {error}')
            continue
        # A list is read only here, so that errors in it are reported.
        for path in paths:
            found.setdefault(os.path.abspath(path), path)
    return list(found.values()), remarks


def _spellings(name: str) -> tuple[str, ...]:
    """A path as written, and as Windows would read it."""
    return (name, name.replace('\\', '/')) if '\\' in name else (name,)


def _place(settings: Mapping[str, Any], place: str, split: str, file: Path) -> Path:
    """A folder or list, where Ultralytics looks for it or where exporters put it."""
    here = file.parent
    path = settings.get('path')
    roots = [here / name for name in _spellings(str(path))] if path else []
    for root in (*roots, here):
        for name in _spellings(place):
            # Roboflow writes ../train/images for a folder next to the data.yaml.
            for inner in (name, name.removeprefix('../')):
                if (root / inner).exists():
                    return root / inner
    raise FileNotFoundError(
        f'{file}: {split} is {place}, which is not in '
        f'{" or ".join(str(root) for root in (*roots, here))}; correct it or path'
    )


def _found(path: Path) -> Iterable[Path]:
    return look_into(path).images if path.is_dir() else _listed(path)


def _listed(file: Path) -> Iterator[Path]:
    for number, line in enumerate(read_lines(file), 1):
        if not line.strip():
            continue
        paths = [file.parent / name for name in _spellings(line.strip())]
        path = next((path for path in paths if path.is_file()), paths[0])
        if not path.is_file():
            raise FileNotFoundError(f'{file}, line {number}: {path} does not exist; correct it')
        if path.suffix.lower() not in EXTENSIONS:
            raise ValueError(
                f'{file}, line {number}: {path} is not named like an image; correct it'
            )
        yield path


def _check_labels(paths: list[Path], file: Path) -> None:
    """Refuse images none of which has labels: the labels must be somewhere else."""
    if not any(_label_file(path).is_file() for path in paths):
        raise ValueError(
            f'{file}: train has {len(paths)} images, but none has a label file such as '
            f'{_places(paths[0])[0]}; put the label files there'
        )


def _labeled(path: Path, classes: list[str], keypoints: int, counts: _Counts) -> LabeledImage:
    size, file = image_size(path), _label_file(path)
    if not file.is_file():
        counts.without_file += 1
        return LabeledImage(path, size, [])
    boxes = []
    for number, line in enumerate(read_lines(file), 1):
        if line.strip():
            where = f'{file}, line {number}'
            values = [_number(text, where) for text in line.split()]
            label = _label(values[0], classes, where)
            corners = _corners(values, keypoints, where)
            counts.polygons += len(values) not in (_BOX, _BOX + keypoints)
            width, height = size
            x1, y1, x2, y2 = corners
            pixels = x1 * width, y1 * height, x2 * width, y2 * height
            pixels, cut = clip(pixels, size, where)
            counts.clipped += cut
            counts.boxes += 1
            boxes.append(Box(label, pixels))
    return LabeledImage(path, size, boxes)


def _label_file(path: Path) -> Path:
    """Where an image's labels are, or would be."""
    file, labels = _places(path)
    return file if labels.is_dir() else path.with_suffix('.txt')


def _without_image(paths: Iterable[Path]) -> int:
    """How many label files, in the folders of some images' label files, belong to none of them.

    Lists may leave out images on purpose; their label files are counted too.
    """
    known = {os.path.abspath(_label_file(path)) for path in paths}
    folders = {os.path.dirname(file) for file in known}
    beside = {str(file) for folder in folders for file in Path(folder).glob('*.txt')}
    return sum(_holds_labels(Path(file)) for file in beside - known)


def _sharing(paths: Iterable[Path]) -> int:
    """How many images have the label file of another one, like ``a.jpg`` and ``a.png``."""
    images = {os.path.abspath(path) for path in paths}
    owners = Counter(_label_file(Path(image)) for image in images)
    return sum(count for file, count in owners.items() if count > 1 and file.is_file())


def _holds_labels(file: Path) -> bool:
    """Whether a text file holds labels, and is not a list of classes or images."""
    try:
        first = next((line.split() for line in read_lines(file) if line.strip()), [])
        return len(first) >= _BOX and all(math.isfinite(float(text)) for text in first)
    except ValueError:
        return False


def _places(path: Path) -> tuple[Path, Path]:
    """An image's label file, with the last ``images`` replaced by ``labels``, and that folder."""
    # As spelled, a path may begin inside ``images``.
    beside = Path(os.path.abspath(path.with_suffix('.txt')))
    for folder in beside.parents:
        if folder.name == 'images':
            labels = folder.with_name('labels')
            return labels / beside.relative_to(folder), labels
    return beside, beside.parent


def _number(text: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f'{where}: {text!r} is not a number; correct it')
    return value


def _label(value: float, classes: list[str], where: str) -> int:
    if value not in range(len(classes)):
        raise ValueError(f'{where}: there is no class {value:g}; names has 0 to {len(classes) - 1}')
    return int(value)


def _corners(values: list[float], keypoints: int, where: str) -> Corners:
    """The box of a line, as shares of its image."""
    count, shares = len(values), values[1:]
    is_box = count in (_BOX, _BOX + keypoints)
    if not is_box and (count < _SHORTEST_POLYGON or count % 2 == 0):
        raise ValueError(
            f'{where} has {count} values; a box has 5 (class, x, y, width, height), a polygon 7, 9 '
            f'and so on'
        )
    seen = shares[:4] if is_box else shares
    if wrong := [share for share in seen if not 0 <= share <= OUTSIDE]:
        raise ValueError(
            f'{where}: {wrong[0]:g} is not a share of the image from 0 to 1; YOLO uses no pixels'
        )
    if not is_box:
        return min(shares[::2]), min(shares[1::2]), max(shares[::2]), max(shares[1::2])
    x, y, width, height = seen
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2
