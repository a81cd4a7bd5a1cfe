"""Pascal VOC: an XML file for each labelled image.

Source: Everingham et al., The PASCAL Visual Object Classes Challenge 2007, Development Kit,
sections 8 and 9.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from ssod.data.folder import EXTENSIONS, FolderContent
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

SPLITS = {'train': 'train', 'val': 'val', 'valid': 'val', 'test': 'test'}
"""Names of split folders, and the split each stands for."""

LISTS = ('train.txt', 'trainval.txt', 'val.txt', 'test.txt')
"""File names of the split lists."""

_MASKS = {'SegmentationClass', 'SegmentationObject'}
"""Folders of images that are not photographs."""

_MAIN = 'ImageSets/Main'


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
    """Read a data set in Pascal VOC format.

    An XML file's image has the same name, in the same folder or the corresponding one, such as
    ``JPEGImages`` for ``Annotations``; if there are several or none, it is the image that the file
    names. No two XML files may share an image.
    Images without an XML file are unlabelled and left out. Objects marked difficult are ignored, as
    in VOC. Pixels count from 1, unless a box of the data set begins below that. Classes are sorted
    alphabetically.

    The splits are the lists in ``ImageSets/Main``. If ``trainval.txt`` exists next to ``train.txt``
    and ``val.txt``, it becomes those two joined. If ``train.txt`` is missing, the training images
    are ``trainval.txt`` without ``val.txt``, or else the images in no list. Without lists, the
    splits are the folders ``train``, ``val`` (or ``valid``) and ``test``, at any depth, that an XML
    file or its image is in. Without such folders, everything is ``train``.

    Args:
        root: The folder.
        content: What is in it.

    Raises:
        ValueError: If a file or a value in it is wrong, an image is missing, or the lists belong
            to a folder further in.
    """
    _refuse_lists_further_in(root)
    files = [path for path in content.others if path.suffix.lower() == '.xml']
    annotations = [_read(path) for path in with_progress(files, 'reading labels')]
    objects = [found for annotation in annotations for found in annotation.objects]
    classes = sorted({found.name for found in objects})
    from_zero = any(min(found.corners[:2]) < 1 for found in objects)
    photographs = [
        path for path in content.images if not _MASKS & set(path.relative_to(root).parts)
    ]
    paths = _images_of(annotations, photographs)
    images, clipped = {}, 0
    for annotation in with_progress(annotations, 'looking at image sizes'):
        path = paths[annotation.file]
        size = _checked_size(annotation, path)
        boxes = []
        for found in annotation.objects:
            corners, cut = clip(_from_zero(found.corners, from_zero), size, found.where)
            boxes.append(Box(classes.index(found.name), corners, found.difficult))
            clipped += cut
        images[annotation.file] = LabeledImage(path, size, boxes)
    left_out = set(photographs) - {image.path for image in images.values()}
    remarks = [
        (from_zero, 'a box begins at pixel 0, so pixels are assumed to count from 0, not from 1'),
        (len(left_out), f'images without an XML file, left out: {len(left_out)}'),
        (clipped, f'boxes that reach outside their images, clipped: {clipped}'),
        (
            difficult := sum(found.difficult for found in objects),
            f'difficult objects, ignored: {difficult}',
        ),
    ]
    splits, empty = _splits(root, images)
    told = [text for is_so, text in remarks if is_so]
    return LabeledSplits(classes, splits, told + empty)


def _refuse_lists_further_in(root: Path) -> None:
    """Refuse the folder around a data set, such as VOCdevkit: its lists would be ignored."""
    if (root / _MAIN).is_dir():
        return
    lists = [file for depth in ('*', '*/*') for file in root.glob(f'{depth}/{_MAIN}/*.txt')]
    meant = sorted(
        {
            file.parents[2]
            for file in lists
            if file.name in LISTS
            and not any(part.startswith('.') for part in file.relative_to(root).parts)
        }
    )
    if meant:
        raise ValueError(
            f'{root} has no {_MAIN}, but {" and ".join(map(str, meant))} '
            + ('have one; give one of them' if len(meant) > 1 else 'has one; give that folder')
        )


def _read(path: Path) -> _Annotation:
    try:
        root = ElementTree.parse(path).getroot()
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise ValueError(f'{path} is not XML: {error}; write it again') from None
    if root.tag != 'annotation':
        raise ValueError(
            f'{path} is not Pascal VOC: it begins with <{root.tag}>, not <annotation>; remove it'
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
        objects.append(_Object(name, (x1, y1, x2, y2), _is_difficult(element, where), where))
    return _Annotation(path, (root.findtext('filename') or '').strip(), _size(root, path), objects)


def _is_difficult(element: Element, where: str) -> bool:
    text = (element.findtext('difficult') or '').strip()
    # Annotation tools that do not ask for it write these.
    if text.lower() in ('', 'unspecified'):
        return False
    return _number(element, 'difficult', where) != 0


def _size(root: Element, path: Path) -> tuple[int, int] | None:
    """The size in the file, if any; some tools write 0."""
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
        raise ValueError(f'{where}: <{tag}> is {text!r}, which is not a number; correct it')
    return value


def _from_zero(corners: Corners, are_already: bool) -> Corners:
    """Corners in an image that begins at 0.

    If pixels count from 1, a box's last pixel n ends at n.
    """
    x1, y1, x2, y2 = corners
    return corners if are_already else (x1 - 1, y1 - 1, x2, y2)


def _checked_size(annotation: _Annotation, path: Path) -> tuple[int, int]:
    size = image_size(path)
    if annotation.size not in (None, size):
        raise ValueError(
            f'{annotation.file}: size is {annotation.size[0]} x {annotation.size[1]}, but {path} '
            f'is loaded as {size[0]} x {size[1]}, with its EXIF orientation applied; correct size '
            f'and boxes, or get the right image'
        )
    return size


def _images_of(annotations: Sequence[_Annotation], images: Sequence[Path]) -> dict[Path, Path]:
    """The image of each XML file; no two may share one."""
    finder = _Finder(images)
    files = defaultdict(list)
    for annotation in annotations:
        files[finder.image_of(annotation)].append(annotation.file)
    for image, some in files.items():
        if len(some) > 1:
            first, second = sorted(some, key=lambda file: _distance(file, image))[:2]
            if _distance(first, image) == _distance(second, image):
                raise ValueError(f'{first} and {second} both describe {image}; remove one')
            raise ValueError(
                f'{second}: its only possible image is {image}, but that belongs to {first}; add '
                f'its image, or remove the XML file'
            )
    return {file: image for image, some in files.items() for file in some}


def _distance(file: Path, image: Path) -> int:
    """How badly an XML file and an image match: 0 for the same place, then 1 and 2."""
    if file.stem == image.stem and file.parent == image.parent:
        return 0
    return 1 if file.stem == image.stem and _correspond(file.parent, image.parent) else 2


class _Finder:
    """Finds the image of an XML file."""

    def __init__(self, images: Sequence[Path]) -> None:
        self.by_stem = defaultdict(list)
        self.by_name = defaultdict(list)
        for path in images:
            self.by_stem[path.stem].append(path)
            self.by_name[path.name].append(path)

    def image_of(self, annotation: _Annotation) -> Path:
        """The image that an XML file describes."""
        file, named = annotation.file, Path(annotation.image).name
        if named not in self.by_name:
            named = PureWindowsPath(annotation.image).name
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
                f'{file}: its image could be {found[0]} or {found[1]}; name it in <filename>, or '
                f'remove one'
            )
        raise ValueError(
            f'{file}: there is no image called {file.stem}'
            + (f' or {named}' if named else '')
            + f', of the kinds {", ".join(EXTENSIONS)}; add it, or remove the XML file'
        )


def _correspond(one: Path, other: Path) -> bool:
    """Whether two folders' paths differ in a single name, and not in the split."""
    pairs = list(zip(one.parts, other.parts, strict=False))
    odd = [(a, b) for a, b in pairs if a != b]
    if len(one.parts) != len(other.parts) or len(odd) != 1:
        return False
    return len(_split_names(odd[0])) < len(odd[0])


def _split_names(folders: Iterable[str]) -> list[str]:
    """The splits that folders are named after, each once."""
    return sorted({SPLITS[name.lower()] for name in folders if name.lower() in SPLITS})


def _splits(
    root: Path, images: dict[Path, LabeledImage]
) -> tuple[dict[str, list[LabeledImage]], list[str]]:
    """The images of each split, and remarks."""
    lists = {name: root / _MAIN / name for name in LISTS if (root / _MAIN / name).is_file()}
    if not lists:
        return _by_folders(root, images), []
    joined = {'train.txt', 'val.txt', 'trainval.txt'} <= lists.keys()
    if 'train.txt' in lists:
        lists.pop('trainval.txt', None)
    finder, remarks = _Listed(root, images), []
    listed = {name.removesuffix('.txt'): finder.files_in(file) for name, file in lists.items()}
    both = listed.pop('trainval', None)
    if 'train' not in listed and both is not None:
        listed = {'train': _without(both, listed.get('val', [])), **listed}
    elif 'train' not in listed:
        rest = _without(images, [file for files in listed.values() for file in files])
        if rest:
            listed = {'train': rest, **listed}
            remarks.append(
                f'without train.txt, train is whatever is in no list: {len(rest)} images'
            )
    elif joined:
        listed['trainval'] = [*listed['train'], *_without(listed['val'], listed['train'])]
    splits = {name: [images[file] for file in files] for name, files in listed.items()}
    splits, empty = leave_out_empty(splits, str(root / _MAIN))
    return splits, remarks + empty


def _without(files: Iterable[Path], left_out: Iterable[Path]) -> list[Path]:
    out = set(left_out)
    return [file for file in files if file not in out]


def _by_folders(root: Path, images: dict[Path, LabeledImage]) -> dict[str, list[LabeledImage]]:
    splits = defaultdict(list)
    for file, image in images.items():
        folders = [path.relative_to(root).parent.parts for path in (file, image.path)]
        names = _split_names(name for parts in folders for name in parts)
        if len(names) > 1:
            raise ValueError(
                f'{file} and its image {image.path} are in folders named after '
                f'{" and ".join(names)}; rename those that are not splits'
            )
        splits[names[0] if names else 'train'].append(image)
    return dict(splits)


class _Listed:
    """Finds the XML files that a list names, without their extension."""

    def __init__(self, root: Path, files: Iterable[Path]) -> None:
        self.by_path: dict[str, Path] = {}
        self.by_stem = defaultdict(list)
        own = root / 'Annotations'
        for file in files:
            self.by_stem[file.stem].append(file)
            self.by_path.setdefault(file.relative_to(root).with_suffix('').as_posix(), file)
        for file in files:
            if file.is_relative_to(own):
                self.by_path[file.relative_to(own).with_suffix('').as_posix()] = file

    def files_in(self, file: Path) -> list[Path]:
        """The XML files in a list, each once."""
        lines = [(number, line.strip()) for number, line in enumerate(read_lines(file), 1)]
        found = [self._file_of(line, f'{file}, line {number}') for number, line in lines if line]
        return list(dict.fromkeys(found))

    def _file_of(self, line: str, where: str) -> Path:
        in_quotes = len(line) > 1 and line[0] == line[-1] and line[0] in '"\''
        whole = line[1:-1] if in_quotes else line
        # Lists for a single class have 1 or -1 after the name.
        for name in (whole, line.split()[0]):
            if name in self.by_path:
                return self.by_path[name]
            some = self.by_stem.get(name, [])
            if len(some) > 1:
                raise ValueError(
                    f'{where}: {name} could be {some[0]} or {some[1]}; write its path within '
                    f'Annotations'
                )
            if some:
                return some[0]
        raise ValueError(
            f'{where}: there is no {whole}.xml; write names without an ending, remove other lines'
        )
