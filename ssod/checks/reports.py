"""Checks of one data set, without opening an image."""

import os
import unicodedata
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from ssod.checks.classes import check_classes
from ssod.checks.coco import check_coco
from ssod.checks.descriptions import check_description, check_exists
from ssod.checks.findings import Finding, Severity, errors_of, finding_of, first_of
from ssod.data.coco_json import no_garbage_collection, read_coco
from ssod.data.data_sets import DataSet
from ssod.data.folder import EXTENSIONS, look_into
from ssod.data.load_image import printable


class ImageEntry(NamedTuple):
    """An image of a data set, and its size if the annotations give one."""

    path: str
    width: int | None = None
    height: int | None = None


@dataclass(frozen=True)
class Report:
    """What is known of a data set.

    Args:
        data_set: The data set.
        findings: What is wrong with it.
        images: Its images.
        ids: COCO's ids of its images.
    """

    data_set: DataSet
    findings: list[Finding]
    images: list[ImageEntry] = field(default_factory=list)
    ids: Collection[Any] = ()


@no_garbage_collection()
def report_on(data_set: DataSet) -> Report:
    """Check a data set's settings, its annotation file, and that its images exist."""
    findings = [*check_description(data_set), *check_exists(data_set)]
    if findings or data_set.kind == 'other':
        return Report(data_set, findings)
    if data_set.kind == 'folder':
        return _report_on_folder(data_set)
    file = printable(data_set.file)
    try:
        content = read_coco(data_set.file, ())
    except (OSError, ValueError) as error:
        return Report(data_set, [finding_of(error, file)])
    findings = check_coco(content, file, data_set.role)
    if errors_of(findings):
        return Report(data_set, findings)
    findings += check_classes(content, data_set.classes or (), file, data_set.role)
    images = [
        ImageEntry(os.path.join(data_set.image_dir, i['file_name']), i['width'], i['height'])
        for i in content['images']
    ]
    findings += _check_there(images, file, data_set)
    return Report(data_set, findings, images, {image['id'] for image in content['images']})


def _report_on_folder(data_set: DataSet) -> Report:
    root = Path(data_set.file)
    try:
        content = look_into(root, data_set.cfg.get('exclude', ()))
    except (OSError, ValueError) as error:
        return Report(data_set, [finding_of(error, data_set.where)])
    file = printable(str(root))

    def warn(paths: Sequence[Path], what: str, remedy: str) -> list[Finding]:
        """One warning, which names the first of some paths."""
        faults = [f'{printable(str(path.relative_to(root)))} {what}' for path in paths]
        return first_of('warning', file, faults, remedy)

    odd = [path for path in content.images if not str(path.relative_to(root)).isprintable()]
    looked = f'it is skipped; images end with {", ".join(EXTENSIONS)}'
    findings = [
        *warn(content.others, 'is not named like an image', looked),
        *warn(content.links, 'leads nowhere, or to a folder seen before', 'it is skipped'),
        *warn(content.unreadable, 'cannot be read', 'check its permissions'),
        *warn(odd, 'has a name that cannot be shown', 'rename it; logs show it like this'),
    ]
    return Report(data_set, findings, [ImageEntry(str(path)) for path in content.images])


def _check_there(images: Sequence[ImageEntry], file: str, data_set: DataSet) -> list[Finding]:
    """Check that images exist; lists their folders, which is faster than asking for each."""
    names: dict[str, set[str]] = {}
    absent = []
    for image in images:
        folder, name = os.path.split(image.path)
        if folder not in names:
            names[folder] = set(_list(folder))
        if name not in names[folder]:
            absent.append(image.path)
    if not absent:
        return []
    faults = [f'image {printable(path)} does not exist' for path in absent]
    # Training skips a few unlabelled ones.
    few = data_set.role == 'unlabeled' and len(faults) < len(images)
    severity: Severity = 'warning' if few else 'error'
    folder, name = os.path.split(absent[0])
    similar = sorted(other for other in names[folder] if _alike(other) == _alike(name))
    if similar:
        faults[0] += f', but {printable(similar[0])} does'
        remedy = "spell them alike: upper and lower case, the accents' encoding, the ending"
    elif len(faults) < len(images):
        remedy = 'add the images, or remove their entries'
    else:
        remedy = (
            f'correct the image folder (data_root and data_prefix of {data_set.where}; with your '
            f'own data --images, --val-images or --unlabeled-images), or add the images'
        )
    return first_of(severity, file, faults, remedy)


def _alike(name: str) -> str:
    """What is left of a file's name after copying and exporting, which change the rest."""
    return unicodedata.normalize('NFC', os.path.splitext(name)[0]).casefold()


def _list(folder: str) -> Iterable[str]:
    """The names in a folder, without links that lead nowhere."""
    try:
        with os.scandir(folder or '.') as entries:
            return [e.name for e in entries if not e.is_symlink() or os.path.exists(e.path)]
    except OSError:  # No such folder, or no permission to read it.
        return ()
