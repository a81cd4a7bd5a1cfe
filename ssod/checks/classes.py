"""Checks of a COCO JSON's categories against the classes that a config names."""

import difflib
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ssod.checks.findings import Finding, first_of, some
from ssod.data.coco_json import is_ignored
from ssod.data.data_sets import Role

_HEAD = 'bbox_head'


def check_classes(
    content: Mapping[str, Any], classes: Sequence[str], file: str, role: Role
) -> list[Finding]:
    """Check that a file's categories are a config's classes.

    mmdet numbers classes in the order of the file's categories, and skips those it does not find.

    Args:
        content: A COCO JSON whose fields are right.
        classes: ``metainfo.classes`` of its data set.
        file: The file, for messages.
        role: What it is used for. The categories of unlabelled images are not used.
    """
    names = [category['name'] for category in content['categories']]
    used = list(dict.fromkeys(name for name in names if name in classes))
    missing = [name for name in classes if name not in names]
    if role == 'unlabeled':
        if set(names) == set(classes):
            return []
        what = f'has the categories {some(names)}, but the classes are {some(classes)}'
        return [Finding('warning', file, what, 'they are not used, but is it the right file?')]
    if not used:
        what = f'none of its categories ({some(names)}) is among the classes ({some(classes)})'
        return [Finding('error', file, what, _remedy(missing, names))]
    if missing:
        faults = [f'has no category for the class {name!r}' for name in missing]
        return first_of('error', file, faults, _remedy(missing, names))
    if used != list(classes):
        what = f'has the categories in the order {some(used)}, but the classes are {some(classes)}'
        remedy = 'mmdet uses the order in the file: use the same in all files and in metainfo'
        return [Finding('error', file, what, remedy)]
    return _check_annotations(content, classes, file, role)


def check_head(model: Any, classes: Sequence[str]) -> list[Finding]:
    """Check that the box heads of a detector have the classes of the data.

    Args:
        model: The model's config.
        classes: ``metainfo.classes`` of the labelled data.
    """
    findings = []
    for where, number in _box_heads(model, 'model'):
        if number != len(classes):
            what = f'is {number}, but the data have {len(classes)} classes ({some(classes)})'
            remedy = f'set it to {len(classes)}, or correct metainfo.classes of the data'
            findings.append(Finding('error', f'{where}.num_classes', what, remedy))
    return findings


def _check_annotations(
    content: Mapping[str, Any], classes: Sequence[str], file: str, role: Role
) -> list[Finding]:
    names = {category['id']: category['name'] for category in content['categories']}
    counted = [a for a in content['annotations'] if not is_ignored(a)]
    counts = Counter(names.get(a['category_id']) for a in counted)
    others = [name for name in counts if name is not None and name not in classes]
    if not any(counts[name] for name in classes):
        what = 'has no annotations' + (' of the classes' if others else '')
        if content['annotations'] and not counted:
            what = 'has only crowd or ignored annotations'
        remedy = 'label some of its images, or give another file'
        return [Finding('warning' if role == 'test' else 'error', file, what, remedy)]
    findings = _check_alike(classes, file) if role == 'labeled' else []
    if others:
        number = sum(counts[name] for name in others)
        what = f'{number:,} annotations have a category that is not a class: {some(others)}'
        remedy = 'they are ignored; to learn them, add them to metainfo.classes'
        findings.append(Finding('warning', file, what, remedy))
    if role == 'labeled':
        findings += _check_bare(content, counted, file)
        unseen = [f'has no annotation of the class {n!r}' for n in classes if not counts[n]]
        findings += first_of('warning', file, unseen, 'the detector cannot learn it')
    return findings


def _check_alike(classes: Sequence[str], file: str) -> list[Finding]:
    """Warn of classes whose names differ only in case, spaces or hyphens."""
    known: dict[str, str] = {}
    alike = []
    for name in classes:
        first = known.setdefault(re.sub(r'[\s_-]+', '', name.casefold()), name)
        if first != name:
            alike.append(f'has the classes {first!r} and {name!r}')
    return first_of('warning', file, alike, 'if they mean the same, give both one name')


def _check_bare(
    content: Mapping[str, Any], counted: Sequence[Mapping[str, Any]], file: str
) -> list[Finding]:
    """Warn of images without annotations: tools also export those nobody has annotated."""
    number = len(content['images'])
    bare = number - len({annotation['image_id'] for annotation in counted})
    if 2 * bare <= number:
        return []
    what = f'{bare:,} of {number:,} images have no annotation and are learnt as background'
    remedy = 'move those that nobody has annotated yet to --unlabeled'
    return [Finding('warning', file, what, remedy)]


def _remedy(missing: Sequence[str], names: Sequence[str]) -> str:
    remedy = 'set metainfo=dict(classes=(...)) of all data sets to the names that all files have'
    folded = {name.casefold(): name for name in names}
    near = difflib.get_close_matches(missing[0].casefold(), folded, n=1)
    return f'{remedy}; did you mean {folded[near[0]]!r}?' if near else remedy


def _box_heads(node: Any, where: str) -> Iterator[tuple[str, int]]:
    """Where a config has box heads, and their number of classes."""
    if isinstance(node, Mapping):
        number = node.get('num_classes')
        if where.rsplit('.', 1)[-1].startswith(_HEAD) and isinstance(number, int):
            yield where, number
        for key, value in node.items():
            yield from _box_heads(value, f'{where}.{key}')
    elif isinstance(node, list | tuple):
        for place, value in enumerate(node):
            yield from _box_heads(value, f'{where}[{place}]')
