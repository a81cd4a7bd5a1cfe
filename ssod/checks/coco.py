"""Checks of a COCO JSON on its own."""

from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence
from typing import Any

from ssod.checks.boxes import check_boxes
from ssod.checks.coco_fields import check_fields, entry_name, shown
from ssod.checks.findings import Finding, Severity, first_of
from ssod.data.coco_json import is_ignored
from ssod.data.data_sets import Role
from ssod.data.load_image import MAX_PIXELS, MAX_RATIO

Entries = Sequence[dict[str, Any]]


def check_coco(content: Any, file: str, role: Role) -> list[Finding]:
    """Check the content of a COCO JSON.

    Args:
        content: What :func:`json.loads` returned.
        file: The file, for messages.
        role: What it is used for.

    Returns:
        The findings. Where lists or fields are missing or wrong, only those: the rest needs them.
    """
    findings = check_fields(content, file, role)
    if findings:
        return findings
    images, categories = content['images'], content['categories']
    annotations = content.get('annotations', [])
    if not images:
        return [Finding('error', file, 'has no images', 'add some, or give another file')]
    findings = [
        *_check_twice(images, 'images', 'id', file),
        *_check_twice(annotations, 'annotations', 'id', file),
        *_check_twice(categories, 'categories', 'id', file),
        *_check_twice(categories, 'categories', 'name', file),
        *_check_file_names(images, annotations, file),
        *_check_sizes(images, file, role),
    ]
    if role != 'unlabeled':
        findings += _check_references(annotations, 'image_id', images, 'image', file)
        findings += _check_references(annotations, 'category_id', categories, 'category', file)
        findings += check_boxes(images, annotations, file)
        findings += _check_same_boxes(annotations, file)
        findings += _check_predicted(annotations, file)
        if role != 'labeled':
            findings += _check_ignored(annotations, file)
    elif annotations:
        what = f'is unlabelled, but has {len(annotations):,} annotations, which are ignored'
        remedy = 'remove them so that no labels can leak (tools/split_coco.py does)'
        findings.append(Finding('warning', file, what, remedy))
    return findings


def check_for_pycocotools(annotations: Entries, file: str) -> list[Finding]:
    """Check what only pycocotools needs, with which mmdet's ``CocoMetric`` scores.

    Args:
        annotations: Those of a COCO JSON in which :func:`check_coco` finds no error.
        file: The file, for messages.
    """
    bare, zero = [], []
    for place, annotation in enumerate(annotations):
        name = entry_name(annotations, 'annotations', place)
        if 'iscrowd' not in annotation:
            bare.append(f"{name} has no 'iscrowd'")
        if annotation['id'] == 0:
            zero.append(f'{name} never counts as found in CocoMetric')
    alternative = 'or score with FastCocoMetric'
    return [
        *first_of('warning', file, bare, f'write 0, {alternative}: CocoMetric fails without it'),
        *first_of('warning', file, zero, f'number annotations from 1, {alternative}'),
    ]


def _check_twice(entries: Entries, part: str, field: str, file: str) -> list[Finding]:
    counts = Counter(entry[field] for entry in entries)
    faults = [f'{n} {part} have the {field} {shown(value)}' for value, n in counts.items() if n > 1]
    return first_of('error', file, faults, f'give each its own {field}')


def _check_sizes(images: Entries, file: str, role: Role) -> list[Finding]:
    """Images that cannot be loaded in the size that the file gives."""
    faults: dict[str, list[str]] = defaultdict(list)
    for place, image in enumerate(images):
        width, height = image['width'], image['height']
        if width % 1 or height % 1:
            what, remedy = 'not a whole number of pixels', 'correct width and height'
        elif width * height > MAX_PIXELS:
            what, remedy = f'more than {MAX_PIXELS:,} pixels', 'cut it into tiles, or remove it'
        elif max(width, height) > MAX_RATIO * min(width, height):
            what, remedy = 'too thin to be made smaller', 'cut it, or remove it'
        else:
            continue
        name = entry_name(images, 'images', place)
        faults[remedy].append(f'{name} is {width} x {height}, {what}')
    # Training skips a few unlabelled ones.
    few = role == 'unlabeled' and sum(map(len, faults.values())) < len(images)
    severity: Severity = 'warning' if few else 'error'
    findings = []
    for remedy, some in faults.items():
        findings += first_of(severity, file, some, remedy)
    return findings


def _check_same_boxes(annotations: Entries, file: str) -> list[Finding]:
    """Objects that are listed twice: both are learnt, but only one of them can be found."""
    places: dict[tuple[Hashable, ...], int] = {}
    faults = []
    for place, annotation in enumerate(annotations):
        if is_ignored(annotation):
            continue
        key = (annotation['image_id'], annotation['category_id'], *annotation['bbox'])
        other = places.setdefault(key, place)
        if other != place:
            one, two = (entry_name(annotations, 'annotations', i) for i in (place, other))
            faults.append(f'{one} has the image, category and bbox of {two}')
    return first_of('warning', file, faults, 'remove one of them')


def _check_predicted(annotations: Entries, file: str) -> list[Finding]:
    """Boxes that a detector is not sure of, as ``tools/pseudo_label.py`` writes them."""
    faults = [
        f'{entry_name(annotations, "annotations", place)} has the score {annotation["score"]}'
        for place, annotation in enumerate(annotations)
        if isinstance(annotation.get('score'), int | float) and annotation['score'] < 1
    ]
    remedy = 'it counts as certain: correct the boxes, or teach with configs/stac_* instead'
    return first_of('warning', file, faults, remedy)


def _check_ignored(annotations: Entries, file: str) -> list[Finding]:
    """Objects that training leaves out, but that must be found when images are scored."""
    faults = [
        f"{entry_name(annotations, 'annotations', place)} has only 'ignore'"
        for place, annotation in enumerate(annotations)
        if annotation.get('ignore') and not annotation.get('iscrowd')
    ]
    return first_of('warning', file, faults, "COCO's scores count it; set 'iscrowd' to 1 too")


def _check_references(
    annotations: Entries, field: str, targets: Entries, target: str, file: str
) -> list[Finding]:
    known = {entry['id'] for entry in targets}
    places = [i for i, a in enumerate(annotations) if a[field] not in known]
    if not places:
        return []
    value = annotations[places[0]][field]
    what = (
        f'{entry_name(annotations, "annotations", places[0])} is of {target} {shown(value)}, '
        f'which does not exist'
    )
    remedy = f'add the {target}, or remove the annotation'
    if str(value) in map(str, known):
        remedy = 'write all ids as numbers, or all as text'
    return [Finding('error', file, what, remedy, len(places))]


def _check_file_names(images: Entries, annotations: Entries, file: str) -> list[Finding]:
    """Files that are listed twice: harmless if the boxes are the same both times."""
    ids: dict[str, list[Hashable]] = defaultdict(list)
    for image in images:
        ids[image['file_name']].append(image['id'])
    twice = {name: some for name, some in ids.items() if len(some) > 1}
    if not twice:
        return []
    boxes: dict[Hashable, set[Hashable]] = defaultdict(set)
    for annotation in annotations:
        boxes[annotation['image_id']].add((annotation['category_id'], *annotation['bbox']))
    alike: list[str] = []
    differing: list[str] = []
    for name, some in twice.items():
        text = f'{len(some)} images have the file_name {shown(name)}'
        same = all(boxes[one] == boxes[some[0]] for one in some)
        (alike if same else differing).append(text if same else f'{text} and different boxes')
    return [
        *first_of(
            'error',
            file,
            differing,
            'objects of one are background in the other: merge them under one id',
        ),
        *first_of('warning', file, alike, 'keep one of each, unless it should be drawn more often'),
    ]
