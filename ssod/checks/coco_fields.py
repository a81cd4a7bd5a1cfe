"""Checks of a COCO JSON's lists and of the fields of their entries."""

import math
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from ssod.checks.findings import Finding, first_of
from ssod.data.coco_json import PARTS
from ssod.data.data_sets import Role

_NOT_IN_NAMES = re.compile(r'[\x00\ud800-\udfff]')  # No file system accepts these in a path.
_NOT_IN_CLASSES = re.compile(r'[\x00-\x1f\x7f-\x9f\ud800-\udfff]')  # These cannot be drawn.
_NUMBERS = frozenset({int, float})  # true and false are not numbers.
_FORMAT = 'write it as https://cocodataset.org/#format-data says'


def is_id(value: Any) -> bool:
    """Whether a value can be an id; pandas writes whole numbers as floats."""
    return type(value) in (int, str) or (type(value) is float and value.is_integer())


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and value != '' and not _NOT_IN_NAMES.search(value)


def _is_class(value: Any) -> bool:
    return isinstance(value, str) and value != '' and not _NOT_IN_CLASSES.search(value)


def _is_number(value: Any) -> bool:
    return type(value) in _NUMBERS


def _is_size(value: Any) -> bool:
    return _is_number(value) and math.isfinite(value) and value > 0


def _is_box(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 4 and _NUMBERS.issuperset(map(type, value))


def _is_flag(value: Any) -> bool:
    # mmdet takes any text for true, '0' too.
    return not isinstance(value, str) and value in (0, 1)


class _Field(NamedTuple):
    fits: Callable[[Any], bool]
    what: str
    optional: bool = False


_ID = _Field(is_id, 'a whole number or text')
_PIXELS = _Field(_is_size, 'a number of pixels above 0')
_FLAG = _Field(_is_flag, '0 or 1, a number', optional=True)

FIELDS: dict[str, dict[str, _Field]] = {
    'images': {
        'id': _ID,
        'file_name': _Field(_is_name, 'the name of a file, in UTF-8'),
        'width': _PIXELS,
        'height': _PIXELS,
    },
    'annotations': {
        'id': _ID,
        'image_id': _Field(is_id, 'the id of an image'),
        'category_id': _Field(is_id, 'the id of a category'),
        'bbox': _Field(_is_box, 'four numbers: x, y, width, height'),
        'area': _Field(_is_number, 'a number of square pixels; width times height will do'),
        'iscrowd': _FLAG,
        'ignore': _FLAG,
    },
    'categories': {'id': _ID, 'name': _Field(_is_class, 'a name on one line')},
}
"""The fields that mmdet's ``CocoDataset`` reads of each entry, and what they must be."""


def check_fields(content: Any, file: str, role: Role) -> list[Finding]:
    """Check that a COCO JSON has its lists, and that their entries have the fields that are read.

    Args:
        content: What :func:`json.loads` returned.
        file: The file, for messages.
        role: What it is used for; unlabelled images need no annotations.
    """
    if not isinstance(content, dict):
        what = f'is not a COCO JSON: it holds {_kind(content)} instead of an object'
        return [Finding('error', file, what, _FORMAT)]
    findings = []
    for part in PARTS:
        if part not in content:
            findings += _check_missing_list(part, file, role)
        elif not isinstance(content[part], list):
            what = f'is not a COCO JSON: {part!r} is {_kind(content[part])} instead of a list'
            findings.append(Finding('error', file, what, _FORMAT))
        else:
            findings += _check_entries(content[part], part, file)
    return findings


def entry_name(entries: Sequence[Any], part: str, place: int) -> str:
    """The name by which the user finds an entry: ``annotations[3] (id 17)``."""
    known = entries[place].get('id')
    return f'{part}[{place}]' + (f' (id {shown(known)})' if is_id(known) else '')


def shown(value: Any) -> str:
    """A value of a JSON, shortened to 60 characters."""
    text = repr(value)
    return text if len(text) <= 60 else f'{text[:57]}...'


def _check_missing_list(part: str, file: str, role: Role) -> list[Finding]:
    if part == 'annotations' and role == 'unlabeled':
        return []
    remedy = _FORMAT
    if part == 'categories':
        remedy = 'add them (tools/split_coco.py --unlabeled does, for unlabelled images)'
    return [Finding('error', file, f'is not a COCO JSON: it has no list {part!r}', remedy)]


def _check_entries(entries: Sequence[Any], part: str, file: str) -> list[Finding]:
    odd = [f'{part}[{i}] is {_kind(e)}' for i, e in enumerate(entries) if not isinstance(e, dict)]
    if odd:
        return first_of('error', file, odd, f'{part} must be a list of objects')
    findings = []
    for field, (fits, what, optional) in FIELDS[part].items():
        missing, wrong = [], []
        for place, entry in enumerate(entries):
            if field not in entry:
                if optional:
                    continue
                missing.append(f'{entry_name(entries, part, place)} has no {field!r}')
            elif not fits(entry[field]):
                value = shown(entry[field])
                wrong.append(f'{field!r} of {entry_name(entries, part, place)} is {value}')
        findings += first_of('error', file, missing, f'it must be {what}')
        findings += first_of('error', file, wrong, f'it must be {what}')
    return findings


def _kind(value: Any) -> str:
    kinds = {dict: 'an object', list: 'a list', str: 'text', bool: 'true or false'}
    return 'null' if value is None else kinds.get(type(value), 'a number')
