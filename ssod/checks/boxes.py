"""Checks of the boxes in a COCO JSON."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssod.checks.coco_fields import entry_name, shown
from ssod.checks.findings import Finding, Severity

FEW_SHARE = 0.001
"""Up to this share of boxes without an area, or outside their images, there is only a warning.
mmdet skips them, and 2 of the 860,001 in COCO's own train2017 have no area."""

TINY_SHARE = 0.5
"""Up to this share of boxes below a pixel there is only a warning. mmdet skips them."""

BORDER = 1.0
"""Pixels by which a box may extend beyond its image without a warning, because of rounding."""

CORNERS_SHARE = 0.1
"""If more than this share of boxes extend beyond their images, all are taken for two corners, as
long as each could be: its second corner is in the image, to the right of the first and below it."""

ENOUGH_BOXES = 10
"""With fewer boxes, all of them could simply be large."""

_LEFT_OUT = 'mmdet skips it'
_CORNERS = 'boxes must be [x, y, width, height], not two corners'
_PIXELS = 'boxes must be in pixels, not shares of the image: multiply them by its width and height'


def check_boxes(
    images: Sequence[dict[str, Any]], annotations: Sequence[dict[str, Any]], file: str
) -> list[Finding]:
    """Check boxes against the sizes of their images.

    Args:
        images: COCO's ``images``, whose fields are right.
        annotations: COCO's ``annotations``, whose fields are right; those of unknown images are
            skipped.
        file: The file, for messages.
    """
    sizes = {image['id']: (image['width'], image['height']) for image in images}
    known = [i for i, a in enumerate(annotations) if a['image_id'] in sizes]
    if not known:
        return []
    boxes = np.array([annotations[i]['bbox'] for i in known], np.float64)
    areas = np.array([annotations[i]['area'] for i in known], np.float64)
    limits = np.array([sizes[annotations[i]['image_id']] for i in known], np.float64)
    findings = []
    for faulty, severity, what, remedy in _faults(boxes, areas, limits):
        places = np.flatnonzero(faulty)
        if len(places):
            place = known[places[0]]
            name, box = entry_name(annotations, 'annotations', place), annotations[place]['bbox']
            size = '{:g} x {:g}'.format(*sizes[annotations[place]['image_id']])
            text = f"'bbox' of {name} {what.format(size=size)}: {shown(box)}"
            findings.append(Finding(severity, file, text, remedy, len(places)))
    return findings


def _faults(
    boxes: NDArray[np.float64], areas: NDArray[np.float64], limits: NDArray[np.float64]
) -> list[tuple[NDArray[np.bool_], Severity, str, str]]:
    """For each fault: which boxes have it, how severe it is, what it is, and the remedy.

    Args:
        boxes: (N, 4) as x, y, width, height.
        areas: (N,) as annotated.
        limits: (N, 2), width and height of each box's image.
    """
    (x, y, w, h), (width, height) = boxes.T, limits.T
    finite = np.isfinite(boxes).all(axis=1) & np.isfinite(areas)
    with np.errstate(invalid='ignore'):
        negative = finite & ((w < 0) | (h < 0))
        empty = finite & ~negative & ((w == 0) | (h == 0) | (areas <= 0))
        sound = finite & ~negative & ~empty
        outside = sound & ((x >= width) | (y >= height) | (x + w <= 0) | (y + h <= 0))
        inside = sound & ~outside
        over = inside & (np.stack([-x, -y, x + w - width, y + h - height]).max(axis=0) > BORDER)
        as_corners = (w > x) & (h > y) & (w <= width + BORDER) & (h <= height + BORDER)
        tiny = inside & ((w < 1) | (h < 1))
    are_corners = (
        len(boxes) >= ENOUGH_BOXES and over.mean() > CORNERS_SHARE and bool(as_corners.all())
    )
    few_empty, few_outside = (x.sum() <= FEW_SHARE * len(boxes) for x in (empty, outside))
    some = tiny.sum() <= TINY_SHARE * len(boxes)
    no_area = "has no area, or its 'area' is not above 0"
    left_out = f'{_LEFT_OUT}; correct or remove it'
    return [
        (~finite, 'error', 'or its area is not finite', 'correct it, or remove the annotation'),
        (negative, 'error', 'has a negative width or height', _CORNERS),
        (empty, 'warning' if few_empty else 'error', no_area, left_out),
        (
            outside,
            'warning' if few_outside else 'error',
            'lies outside its image of {size}',
            left_out if few_outside else _CORNERS,
        ),
        (
            over,
            'error' if are_corners else 'warning',
            'extends beyond its image of {size}',
            _CORNERS if are_corners else f'{_CORNERS}; if it is right, clip it',
        ),
        (
            tiny,
            'warning' if some else 'error',
            'is less than a pixel wide or high',
            _LEFT_OUT if some else _PIXELS,
        ),
    ]
