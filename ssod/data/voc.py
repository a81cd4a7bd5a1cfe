"""Pascal VOC: an XML file for each labelled image.

Source: Everingham et al., The PASCAL Visual Object Classes Challenge 2007, Development Kit,
sections 8 and 9.
"""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from ssod.data.folder import FolderContent
from ssod.data.labeled_images import Box, Corners, LabeledImage, LabeledSplits, clip, image_size

SPLITS = {'train': 'train', 'val': 'val', 'valid': 'val', 'test': 'test'}
"""What the folders of splits are called, and which split that is."""


@dataclass(frozen=True)
class _Object:
    name: str
    corners: Corners
    difficult: bool
    where: str


@dataclass(frozen=True)
class _Annotation:
    file: Path
    image: str
    size: tuple[int, int] | None
    objects: Sequence[_Object]


def read_voc(root: Path, content: FolderContent) -> LabeledSplits:
    """Read a data set in Pascal VOC's format.

    An XML file's image is the one of the same name, in the same or the corresponding folder, such
    as ``JPEGImages`` for ``Annotations``; where there are several or none, the one that it names.
    Images without an XML file are not labelled and left out. Objects marked difficult are ignored,
    as VOC does. Pixels count from 1, unless a box of the data set begins below that. Classes are in
    alphabetical order.

    The splits are the lists in ``ImageSets/Main``; without those, folders called ``train``,
    ``val`` (or ``valid``) and ``test``; without those, all is ``train``.

    Args:
        root: The folder.
        content: What is in it.

    Raises:
        ValueError: If a file or a value in it is wrong, or an image is missing.
    """
    files = [path for path in content.others if path.suffix.lower() == '.xml']
    annotations = [_read(path) for path in files]
    objects = [found for annotation in annotations for found in annotation.objects]
    classes = sorted({found.name for found in objects})
    from_zero = any(min(found.corners[:2]) < 1 for found in objects)
    finder = _Finder(content.images)
    images, clipped = {}, 0
    for annotation in annotations:
        path = finder.image_of(annotation)
        size = _checked_size(annotation, path)
        boxes = []
        for found in annotation.objects:
            corners, cut = clip(_from_zero(found.corners, from_zero), size, found.where)
            boxes.append(Box(classes.index(found.name), corners, found.difficult))
            clipped += cut
        images[annotation.file] = LabeledImage(path, size, boxes)
    left_out = set(content.images) - {image.path for image in images.values()}
    remarks = [
        (from_zero, 'a box begins at pixel 0, so pixels are taken to count from 0, not from 1'),
        (len(left_out), f'images without an XML file, left out: {len(left_out)}'),
        (clipped, f'boxes that left their images, clipped: {clipped}'),
        (
            difficult := sum(found.difficult for found in objects),
            f'difficult, ignored: {difficult}',
        ),
    ]
    return LabeledSplits(
        'Pascal VOC', classes, _splits(root, images), [text for is_so, text in remarks if is_so]
    )


def _read(path: Path) -> _Annotation:
    try:
        root = ElementTree.parse(path).getroot()
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise ValueError(f'{path} is no XML: {error}; write it anew') from None
    if root.tag != 'annotation':
        raise ValueError(
            f"{path} is not Pascal VOC's: it begins with <{root.tag}>, not <annotation>; remove it"
        )
    objects = []
    for number, element in enumerate(root.iter('object'), 1):
        where = f'{path}: object {number}'
        name = _text(element, 'name', where)
        box = element.find('bndbox')
        if box is None:
            raise ValueError(f'{where} ({name}) has no <bndbox>; add it, or remove the object')
        where = f'{where} ({name})'
        x1, y1, x2, y2 = (_number(box, tag, where) for tag in ('xmin', 'ymin', 'xmax', 'ymax'))
        hard = element.find('difficult') is not None and _number(element, 'difficult', where) != 0
        objects.append(_Object(name, (x1, y1, x2, y2), hard, where))
    return _Annotation(path, (root.findtext('filename') or '').strip(), _size(root, path), objects)


def _size(root: Element, path: Path) -> tuple[int, int] | None:
    """The size that is written, if any; some tools write 0."""
    element = root.find('size')
    if element is None:
        return None
    size = tuple(int(_number(element, tag, f'{path}: size')) for tag in ('width', 'height'))
    return (size[0], size[1]) if all(size) else None


def _text(element: Element, tag: str, where: str) -> str:
    text = (element.findtext(tag) or '').strip()
    if not text:
        raise ValueError(f'{where} has no <{tag}>, or an empty one; fill it in')
    return text


def _number(element: Element, tag: str, where: str) -> float:
    text = _text(element, tag, where)
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f'{where}: <{tag}> is {text!r}, which is no number; correct it')
    return value


def _from_zero(corners: Corners, are_already: bool) -> Corners:
    """Corners in an image that begins at 0.

    Where pixels count from 1, a box's last pixel n ends at n.
    """
    x1, y1, x2, y2 = corners
    return corners if are_already else (x1 - 1, y1 - 1, x2, y2)


def _checked_size(annotation: _Annotation, path: Path) -> tuple[int, int]:
    size = image_size(path)
    if annotation.size not in (None, size):
        raise ValueError(
            f'{annotation.file}: size is {annotation.size[0]} x {annotation.size[1]}, but {path} '
            f'is loaded as {size[0]} x {size[1]}, turned as its EXIF orientation says; correct '
            f'size and boxes, or get the right image'
        )
    return size


class _Finder:
    """Finds the image of an XML file."""

    def __init__(self, images: Sequence[Path]) -> None:
        self.by_stem = defaultdict(list)
        self.by_name = defaultdict(list)
        for path in images:
            self.by_stem[path.stem].append(path)
            self.by_name[path.name].append(path)

    def image_of(self, annotation: _Annotation) -> Path:
        """The image that an XML file is of."""
        file, named = annotation.file, Path(annotation.image).name
        found = self.by_stem.get(file.stem) or self.by_name.get(named) or []
        for is_meant in (
            lambda path: path.parent == file.parent,
            lambda path: _correspond(path.parent, file.parent),
            lambda path: path.name == named,
        ):
            if len(found) > 1:
                found = [path for path in found if is_meant(path)] or found
        if len(found) == 1:
            return found[0]
        if found:
            raise ValueError(
                f'{file}: its image may be {found[0]} or {found[1]}; name it in <filename>, or '
                f'remove one'
            )
        raise ValueError(
            f'{file}: there is no image called {file.stem}'
            + (f' or {named}' if named else '')
            + '; add it, or remove the XML file'
        )


def _correspond(one: Path, other: Path) -> bool:
    """Whether two folders' paths are alike but for one name."""
    pairs = list(zip(one.parts, other.parts, strict=False))
    return len(one.parts) == len(other.parts) and sum(a != b for a, b in pairs) == 1


def _splits(root: Path, images: dict[Path, LabeledImage]) -> dict[str, list[LabeledImage]]:
    listed = {name: root / f'ImageSets/Main/{name}.txt' for name in ('train', 'val', 'test')}
    if not listed['train'].is_file():
        listed['train'] = listed['train'].with_name('trainval.txt')
    if listed['train'].is_file():
        return {name: _listed(file, images) for name, file in listed.items() if file.is_file()}
    splits = defaultdict(list)
    for file, image in images.items():
        splits[SPLITS.get(file.relative_to(root).parts[0].lower(), 'train')].append(image)
    return dict(splits)


def _listed(file: Path, images: dict[Path, LabeledImage]) -> list[LabeledImage]:
    """The images of a list, which names them without their extension."""
    by_stem = {path.stem: image for path, image in images.items()}
    names = [line.split() for line in file.read_text(encoding='utf-8').splitlines()]
    for number, name in enumerate(names, 1):
        if name and name[0] not in by_stem:
            raise ValueError(f'{file}, line {number}: there is no {name[0]}.xml; remove the line')
    return [by_stem[name[0]] for name in names if name]
