"""Images with boxes for a page."""

import base64
import io
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from mmengine.structures import InstanceData
from PIL import Image

from ssod.data.load_image import Pixels
from ssod.pseudo_labels.verdicts import Kind
from ssod.visualization.detections import (
    TRUTH,
    Boxes,
    boxes_of,
    class_text,
    draw_boxes,
    found_boxes,
)
from ssod.visualization.report.images import View
from ssod.visualization.report.looks import Lesson, Scored

LEFT_OUT = (190, 190, 190)
"""Colour of the teacher's boxes that are not taught."""

SHOWN = 0.1
"""Lowest score of the teacher's boxes that are drawn although they are not taught."""

SMALLEST = 48
"""Smallest side of the image part shown around a mistake, in the image's pixels."""

MISTAKES: tuple[Kind, ...] = ('wrong class', 'background')


class Picture(NamedTuple):
    """An image on the page.

    Args:
        uri: The image itself, as a data URI.
        width: In pixels.
        height: In pixels.
        title: Its caption.
        note: More of the caption, in smaller letters.
    """

    uri: str
    width: int
    height: int
    title: str
    note: str = ''


def picture_of(image: Image.Image, title: str, note: str = '') -> Picture:
    """An image as WebP, embedded in the page."""
    file = io.BytesIO()
    image.save(file, format='WEBP', quality=88)
    code = base64.b64encode(file.getvalue()).decode()
    return Picture(f'data:image/webp;base64,{code}', *image.size, title, note)


def lesson_pictures(lesson: Lesson, classes: Sequence[str]) -> tuple[Picture, Picture]:
    """The weak view with the teacher's boxes, and the strong one with the pseudo-boxes."""
    found = lesson.found
    taught = found[lesson.chosen]
    rest = found[~lesson.chosen & (found.scores >= SHOWN)]
    others = found_boxes(rest, classes)._replace(colour=LEFT_OUT, line=1, texts=())
    weak = draw_boxes(
        lesson.weak.image, [others, found_boxes(taught, classes), truth_boxes(lesson.weak.truth)]
    )
    pseudo = found_boxes(lesson.pseudo, classes)
    strong = draw_boxes(lesson.strong.image, [pseudo, truth_boxes(lesson.strong.truth)])
    name = Path(lesson.weak.sample.img_path).name
    others_found = f', {len(rest)} not taught' if len(rest) else ''
    return (
        picture_of(weak, name, f'weak view: {len(taught)} taught{others_found}'),
        picture_of(strong, '', f'strong view: {len(pseudo.boxes)} taught'),
    )


def view_picture(view: View, classes: Sequence[str], title: str, note: str) -> Picture:
    """A view with the boxes of its hidden truth, if known."""
    return picture_of(
        draw_boxes(view.image, [truth_boxes(view.truth, classes)] if view.truth else []),
        title,
        note,
    )


def scored_picture(scored: Scored, classes: Sequence[str], score_thr: float) -> Picture:
    """A validation image with truth and detections."""
    found = found_boxes(scored.found, classes, score_thr)
    image = draw_boxes(scored.image(), [found, truth_boxes(scored.truth)])
    note = f'{len(scored.truth)} true, {len(found.boxes)} found'
    return picture_of(image, Path(scored.path).name, note)


def mistake_pictures(
    images: Sequence[Scored], classes: Sequence[str], count: int, score_thr: float
) -> list[Picture]:
    """The most confident detections on an object of another class, or on nothing.

    Args:
        images: Validation images.
        classes: Names of the classes.
        count: How many at most.
        score_thr: Detections below this score are left out.
    """
    mistakes = [
        (float(image.found.scores[i]), number, i)
        for number, image in enumerate(images)
        for i, verdict in enumerate(image.verdicts)
        if verdict.kind in MISTAKES and image.found.scores[i] >= score_thr
    ]
    mistakes.sort(key=lambda mistake: -mistake[0])
    return [_mistake(images[number], i, classes) for _, number, i in mistakes[:count]]


def verdict_counts(images: Sequence[Scored], score_thr: float) -> list[tuple[Kind, int]]:
    """How many detections are right, and how many are wrong in each way.

    Args:
        images: Validation images.
        score_thr: Detections below this score are left out.
    """
    kinds = Counter(
        verdict.kind
        for image in images
        for verdict, score in zip(image.verdicts, image.found.scores.tolist(), strict=True)
        if score >= score_thr
    )
    return kinds.most_common()


def truth_boxes(truth: InstanceData | None, classes: Sequence[str] = ()) -> Boxes:
    """True boxes as they are drawn: thin, and with their class names if given."""
    if truth is None:
        return Boxes([], TRUTH, 2)
    texts = [class_text(classes, label) for label in truth.labels.tolist()] if classes else []
    return Boxes(boxes_of(truth), TRUTH, 2, texts)


def _mistake(scored: Scored, i: int, classes: Sequence[str]) -> Picture:
    """The place of a mistake, with enough around it to understand it."""
    box = scored.found.bboxes[i].tolist()
    image, (left, top) = crop(scored.image(), box)
    verdict, found = scored.verdicts[i], scored.found[i : i + 1]
    name = classes[int(found.labels[0])]
    if verdict.truth is None:
        reason = 'nothing there'
    else:
        reason = f'true: {classes[int(scored.truth.labels[verdict.truth])]}'
    moved = [_moved(boxes, left, top) for boxes in (found_boxes(found, classes), _near(scored, i))]
    title = f'{name}, score {float(found.scores[0]):.2f}: {reason}'
    return picture_of(draw_boxes(image, moved), title, Path(scored.path).name)


def _near(scored: Scored, i: int) -> Boxes:
    """The true box that a mistake is on."""
    truth = scored.verdicts[i].truth
    return truth_boxes(scored.truth[truth : truth + 1] if truth is not None else None)


def _moved(boxes: Boxes, left: float, top: float) -> Boxes:
    moved = [(x1 - left, y1 - top, x2 - left, y2 - top) for x1, y1, x2, y2 in boxes.boxes]
    return boxes._replace(boxes=moved)


def crop(image: Pixels, box: Sequence[float]) -> tuple[Pixels, tuple[int, int]]:
    """Cut a square around a box, three times as large, within the image.

    Args:
        image: (H, W, 3).
        box: (x1, y1, x2, y2) in its pixels.

    Returns:
        The part, and its left and top edge.
    """
    height, width = image.shape[:2]
    side = max(3 * max(box[2] - box[0], box[3] - box[1]), SMALLEST)
    left, right = _span((box[0] + box[2]) / 2, side, width)
    top, bottom = _span((box[1] + box[3]) / 2, side, height)
    return image[top:bottom, left:right], (left, top)


def _span(centre: float, side: float, limit: int) -> tuple[int, int]:
    """Begin and end of a part with a given length, moved into the image."""
    length = min(round(side), limit)
    begin = min(max(round(centre - length / 2), 0), limit - length)
    return begin, begin + length
