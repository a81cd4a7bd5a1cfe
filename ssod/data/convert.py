"""Converts labels in Pascal VOC or YOLO format to COCO JSON."""

import itertools
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.logging import print_log

from ssod.data.coco_json import read_coco, write_beside, write_json
from ssod.data.folder import look_into
from ssod.data.labeled_images import LabeledSplits, coco_of, image_root
from ssod.data.voc import read_voc
from ssod.data.yolo import has_names, read_yolo
from ssod.files import other_content

YAML = ('.yaml', '.yml')


@dataclass(frozen=True)
class Converted:
    """A split as COCO JSON.

    Args:
        file: The JSON.
        images: The folder of its images.
        told: Its numbers of images, boxes and classes, for people.
    """

    file: Path
    images: Path
    told: str


def is_coco(path: str | Path) -> bool:
    """Whether a path is named like a COCO JSON, so that no conversion is needed."""
    return Path(path).suffix.lower() == '.json'


def read_labels(path: str | Path) -> LabeledSplits:
    """Read labelled images in Pascal VOC or YOLO format.

    Args:
        path: A folder with Pascal VOC's XML files (sub-folders included), a YOLO data.yaml, or a
            folder that contains one. Next to XML files, a YAML file without ``names`` is ignored.

    Raises:
        FileNotFoundError: If there is no such file or folder, or no image.
        ValueError: If it has neither format, or a file or a value in it is wrong.
    """
    path = Path(path)
    if path.suffix.lower() in YAML and path.is_file():
        return read_yolo(path)
    if not path.exists():
        raise FileNotFoundError(f'{path} does not exist; correct the path')
    if not path.is_dir():
        raise FileNotFoundError(
            f'{path} is neither a folder nor a data.yaml; give a Pascal VOC folder or a YOLO '
            f'data.yaml'
        )
    yamls = sorted(
        file
        for file in path.iterdir()
        if file.suffix.lower() in YAML and file.is_file() and not file.name.startswith('.')
    )
    file = _data_yaml([file for file in yamls if has_names(file)])
    if file is None and not _has_xml(path):
        # Reading it reports what it lacks.
        file = _data_yaml(yamls)
    if file is not None:
        return read_yolo(file)
    content = look_into(path)
    if any(file.suffix.lower() == '.xml' for file in content.others):
        return read_voc(path, content)
    remedy = 'give a folder of labelled images, its data.yaml, or a COCO JSON'
    jsons = sorted(file for file in content.others if is_coco(file))
    if jsons:
        remedy = f'if {jsons[0]} is a COCO JSON, give that'
    raise ValueError(
        f'{path} has neither one data.yaml (YOLO) nor XML files (Pascal VOC) with its images; '
        f'{remedy}'
    )


def _data_yaml(files: Sequence[Path]) -> Path | None:
    """The file named data, or else the only one."""
    named = [file for file in files if file.stem == 'data'] or files
    return named[0] if len(named) == 1 else None


def _has_xml(folder: Path) -> bool:
    """Whether a folder or its sub-folders have an XML file that is not hidden."""
    return any(
        file.suffix.lower() == '.xml'
        and not any(part.startswith('.') for part in file.relative_to(folder).parts)
        for file in folder.rglob('*')
    )


def convert(
    path: str | Path, out_dir: str | Path, overwrite: bool = False
) -> tuple[dict[str, Converted], list[str]]:
    """Write labels as COCO JSON, one file per split; the images stay where they are.

    Args:
        path: See :func:`read_labels`.
        out_dir: Where ``train.json``, ``val.json``, ``test.json`` and ``trainval.json`` go, for
            the splits there are; created if missing.
        overwrite: Whether to replace existing files with different content.

    Returns:
        What was written, or was already there, for each split; and remarks on anything that could
        have been meant differently.

    Raises:
        FileExistsError: If a file with different content is in the way; then nothing is written.
        FileNotFoundError: If there is no such file or folder, or no image.
        ValueError: If it has neither format, or a file or a value in it is wrong.
    """
    labels, out = read_labels(path), Path(out_dir)
    contents = _contents(labels, labels.classes, out)
    for file, content in contents.items():
        if file.exists() and not overwrite and not _holds(file, content):
            raise other_content(file)
    out.mkdir(parents=True, exist_ok=True)
    for file, content in contents.items():
        write_json(file, content)
    return _converted(labels, contents, list(contents)), labels.remarks


def _contents(
    labels: LabeledSplits, classes: Sequence[str], out_dir: Path
) -> dict[Path, dict[str, Any]]:
    """The content of each split's file."""
    return {
        out_dir / f'{split}.json': coco_of(images, labels.classes, classes)
        for split, images in labels.splits.items()
    }


def _converted(
    labels: LabeledSplits, contents: Mapping[Path, dict[str, Any]], files: Sequence[Path]
) -> dict[str, Converted]:
    """What was written for each split."""
    written = {}
    for (split, images), content, file in zip(
        labels.splits.items(), contents.values(), files, strict=True
    ):
        told = ', '.join(
            f'{len(content[part])} {name}'
            for part, name in (
                ('images', 'images'),
                ('annotations', 'boxes'),
                ('categories', 'classes'),
            )
        )
        written[split] = Converted(file, image_root(images), told)
    return written


def _holds(file: Path, content: dict[str, Any]) -> bool:
    try:
        return read_coco(file) == content
    except ValueError:  # Not a COCO JSON at all.
        return False


def convert_for_run(
    path: str | Path, out_dir: str | Path, classes: Sequence[str] | None = None
) -> dict[str, Converted]:
    """Write labels as COCO JSON for a run, and log in one line how they were read.

    Files of an earlier run with different content are kept; see
    :func:`ssod.data.coco_json.write_beside`.

    Args:
        path: See :func:`read_labels`.
        out_dir: As for :func:`convert`.
        classes: Classes of the training data, which come first, in their order. If ``None``, only
            the classes of these labels.

    Returns:
        What was written, for each split.

    Raises:
        FileNotFoundError: As for :func:`convert`.
        ValueError: As for :func:`convert`, or if a class seems to be misspelled: one is not in
            ``classes``, and one of ``classes`` is missing.
    """
    labels, out = read_labels(path), Path(out_dir)
    names, remarks = labels.classes, labels.remarks
    contents = _contents(labels, names if classes is None else _joined(classes, names, path), out)
    out.mkdir(parents=True, exist_ok=True)
    written = _converted(labels, contents, write_beside(contents))
    told = [f'{split}: {made.told}' for split, made in written.items()]
    print_log(
        f'{path} converted to COCO JSON in {out_dir}: {"; ".join([*told, *remarks])}',
        'current',
        logging.WARNING if remarks else logging.INFO,
    )
    return written


def _joined(classes: Sequence[str], names: Sequence[str], path: str | Path) -> list[str]:
    """The classes of the training data, then the labels' other ones."""
    others = [name for name in names if name not in classes]
    # If none is missing, the others are ignored, like those of any COCO JSON.
    if others and not set(classes) <= set(names):
        raise ValueError(
            f'{path} has the class {others[0]!r}, but the labelled images have only '
            f'{", ".join(classes)}; correct its name, or remove its objects'
        )
    return [*classes, *others]


def with_classes(file: Path, classes: Sequence[str], out_dir: Path) -> Path:
    """A COCO JSON with the classes of the training data as categories, in their order.

    Exporters may list only the categories that occur, in any order, but mmdet numbers classes by
    that order.

    Args:
        file: COCO JSON of validation images.
        classes: Classes of the training data.
        out_dir: Where a changed JSON goes, as for :func:`convert_for_run`.

    Returns:
        ``file`` if it needs no change; or if nobody can tell what to change, because it lacks
        classes and has others, or it or the classes are wrong, or it is missing: the data checks
        report that. Else a changed
        copy.
    """
    try:
        content = read_coco(file)
    except (OSError, ValueError):
        return file
    known = {_name_of(category): category for category in content['categories']}
    others = [name for name in known if name not in classes]
    missing = [name for name in classes if name not in known]
    in_order = [name for name in known if name not in others] == list(classes)
    is_wrong = None in known or len(known) < len(content['categories']) or not known
    is_wrong |= len(set(classes)) < len(classes)
    if is_wrong or in_order or (missing and others):
        return file
    numbers = itertools.count(1)
    ids = [category.get('id') for category in known.values()]
    for name in missing:
        number = next(number for number in numbers if number not in ids)
        known[name] = {'id': number, 'name': name}
    categories = [known[name] for name in [*classes, *others]]
    out_dir.mkdir(parents=True, exist_ok=True)
    (written,) = write_beside({out_dir / 'val.json': {**content, 'categories': categories}})
    told = f'{file}: categories put in the order of the training data'
    if missing:
        told += f', without annotations of {", ".join(missing)}'
    print_log(f'{told}: {written}', 'current')
    return written


def _name_of(category: Any) -> str | None:
    name = category.get('name') if isinstance(category, dict) else None
    return name if isinstance(name, str) else None


def split_of(written: Mapping[str, Converted], split: str, path: str | Path) -> Converted:
    """One split, or everything if the data set is not split.

    Args:
        written: What was written for each split.
        split: Its name.
        path: What was converted, for the message.

    Raises:
        ValueError: If there are several other splits, but not this one.
    """
    if split in written:
        return written[split]
    if len(written) == 1:
        return next(iter(written.values()))
    raise ValueError(f'{path} has no split {split!r}, only {", ".join(written)}; add it')
