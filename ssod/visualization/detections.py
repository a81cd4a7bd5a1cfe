"""A contact sheet: images with their true boxes and the boxes a detector found."""

import os
from collections.abc import Iterator, Sequence
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import matplotlib
from matplotlib.ft2font import FT2Font
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import get_box_tensor
from mmengine.structures import InstanceData
from PIL import Image, ImageDraw, ImageFont

from ssod.data.load_image import Pixels
from ssod.files import write_whole

# Okabe and Ito's sky blue and orange: colour-blind readers can tell them apart, and they are bright
# enough for black rims and text.
TRUTH = (86, 180, 233)
DETECTION = (230, 159, 0)
INK = (40, 40, 40)

SIDE = 384  # the longer side of every image on the sheet; 96 px grow fourfold
GAP = 12
HEADER = 36
CAPTION = 22
NAME = 28  # characters of a file's name, so that the counts fit next to it

Rectangle = tuple[float, float, float, float]
Label = tuple[Rectangle, str, tuple[int, int, int]]
"""Box, text and colour."""


def draw_detections(
    images: Sequence[Pixels],
    samples: Sequence[DetDataSample],
    classes: Sequence[str],
    path: str | os.PathLike[str],
    score_thr: float = 0.3,
    columns: int = 4,
) -> None:
    """Write images with true and found boxes as one picture.

    Every image is first resized to a longer side of 384 px, so that lines and text have the same
    size on all. True boxes are thin and drawn over the thick detections, which show class and
    score. The caption counts both and gives the file name, or the image's number on the sheet if
    the font lacks a character of the name.

    Args:
        images: RGB images, each (height, width, 3) in 0..255, of any size.
        samples: For each image, ``gt_instances`` (bboxes, labels) and ``pred_instances`` (bboxes,
            labels, scores), both optional; boxes as (x1, y1, x2, y2) in the image's own pixels.
        classes: Name of each label.
        path: The picture to write, as PNG; its folder is created if missing.
        score_thr: Detections below this score (0..1) are left out.
        columns: Images in a row.

    Raises:
        ValueError: If there are no images, or not one sample for each.
    """
    if not images or len(images) != len(samples):
        raise ValueError(
            f'draw_detections: {len(images)} images and {len(samples)} samples; '
            'give at least one image, and one sample for each'
        )
    tiles = [
        _tile(number, image, sample, classes, score_thr)
        for number, (image, sample) in enumerate(zip(images, samples, strict=True), 1)
    ]
    columns = min(columns, len(tiles))
    rows = [tiles[i : i + columns] for i in range(0, len(tiles), columns)]
    width = GAP + columns * (SIDE + GAP)
    height = HEADER + sum(max(tile.height for tile in row) + GAP for row in rows)
    sheet = Image.new('RGB', (width, height), 'white')
    _draw_legend(sheet, score_thr)
    top = HEADER
    for row in rows:
        for column, tile in enumerate(row):
            sheet.paste(tile, (GAP + column * (SIDE + GAP), top))
        top += max(tile.height for tile in row) + GAP
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    picture = BytesIO()
    sheet.save(picture, 'PNG')
    write_whole(Path(path), picture.getvalue())


def _tile(
    number: int,
    image: Pixels,
    sample: DetDataSample,
    classes: Sequence[str],
    score_thr: float,
) -> Image.Image:
    """One image at the sheet's scale with its boxes, in a full-width tile, and its caption."""
    found = found_boxes(sample.get('pred_instances'), classes, score_thr)
    truth = Boxes(boxes_of(sample.get('gt_instances')), TRUTH, 2)
    picture = draw_boxes(image, [found, truth])
    tile = Image.new('RGB', (SIDE, picture.height + CAPTION), 'white')
    left = (SIDE - picture.width) // 2
    tile.paste(picture, (left, 0))
    caption = f'{len(truth.boxes)} true, {len(found.boxes)} found'
    if sample.get('img_path'):
        name = _writable(Path(sample.img_path).name, f'image {number}')
        name = name if len(name) <= NAME else f'{name[: NAME - 1]}…'
        caption = f'{name}: {caption}'
    ImageDraw.Draw(tile).text((left, picture.height + 3), caption, INK, _font(13))
    return tile


class Boxes(NamedTuple):
    """Boxes of one kind.

    Args:
        boxes: Each (x1, y1, x2, y2) in the image's own pixels, the most confident first.
        colour: RGB in 0..255, bright enough for black text.
        line: Width of their frames in pixels of the picture.
        texts: The text at each box; no text if empty.
    """

    boxes: Sequence[Rectangle]
    colour: tuple[int, int, int]
    line: int
    texts: Sequence[str] = ()


def draw_boxes(image: Pixels, kinds: Sequence[Boxes], own_size: bool = False) -> Image.Image:
    """Draw an image with boxes.

    Args:
        image: RGB, (height, width, 3) in 0..255.
        kinds: What is drawn: later ones over earlier ones, and all texts over all frames.
        own_size: Whether to keep the image's size, and scale lines and text with it.

    Returns:
        A picture whose longer side is 384 pixels, or that of the image.
    """
    height, width = image.shape[:2]
    longer = max(height, width)
    scale, growth = (1.0, max(longer, 400) / 1000) if own_size else (SIDE / longer, 1.0)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    picture = Image.fromarray(image).resize(size, Image.Resampling.LANCZOS)
    draw = ImageDraw.Draw(picture)
    labelled: list[Label] = []
    for kind in kinds:
        boxes = [(scale * x1, scale * y1, scale * x2, scale * y2) for x1, y1, x2, y2 in kind.boxes]
        # The least confident first: where boxes overlap, the most confident ends up on top.
        for box in reversed(boxes):
            _draw_box(draw, box, kind.colour, max(1, round(growth * kind.line)))
        texts = zip(boxes, kind.texts, strict=False)
        labelled += [(box, text, kind.colour) for box, text in texts]
    _draw_labels(draw, size, labelled, max(9, round(growth * 15)))
    return picture


def found_boxes(
    instances: InstanceData | None, classes: Sequence[str], score_thr: float = 0.0
) -> Boxes:
    """Detections as they are drawn: thick, the most confident first, with class and score.

    Those that are not :func:`drawable` are left out.

    Args:
        instances: With ``bboxes``, ``labels`` and ``scores``; ``None`` for none.
        classes: Name of each label.
        score_thr: Detections below this score (0..1) are left out.
    """
    if instances is None or not len(instances):
        return Boxes([], DETECTION, 4)
    kept = drawable(instances)
    kept = kept[kept.scores >= score_thr]
    kept = kept[kept.scores.argsort(descending=True)]
    rows = zip(kept.labels.tolist(), kept.scores.tolist(), strict=True)
    texts = [f'{class_text(classes, label)} {score:.2f}' for label, score in rows]
    return Boxes(boxes_of(kept), DETECTION, 4, texts)


def drawable(instances: InstanceData) -> InstanceData:
    """Detections without boxes that have no area or are not finite, as in the COCO JSON.

    Until they are trained, some detectors predict such boxes.

    Args:
        instances: With ``bboxes``.
    """
    corners = get_box_tensor(instances.bboxes)
    sound = corners.isfinite().all(dim=1) & (corners[:, 2:] > corners[:, :2]).all(dim=1)
    return instances[sound]


def class_text(classes: Sequence[str], label: int) -> str:
    """The text for a class: its name, or its number if the font lacks a character of it."""
    return _writable(classes[label], f'class {label}')


def _writable(text: str, instead: str) -> str:
    """A text, or another one if the font lacks any of its characters."""
    return text if _characters().issuperset(map(ord, text)) else instead


def boxes_of(instances: InstanceData | None) -> list[Rectangle]:
    """The boxes of instances as numbers; none if there are no instances."""
    if instances is None:
        return []
    boxes: list[Rectangle] = get_box_tensor(instances.bboxes).float().tolist()
    return boxes


def _draw_box(
    draw: ImageDraw.ImageDraw, box: Rectangle, colour: tuple[int, int, int], line: int
) -> None:
    """Draw a frame centred on the box's edge, with a dark rim on both sides.

    At the picture's border it is moved inwards until it is visible.
    """
    width, height = draw.im.size
    outer, inner = line / 2 + 1, line / 2
    x1, x2 = (min(max(x, outer), width - 1 - outer) for x in box[0::2])
    y1, y2 = (min(max(y, outer), height - 1 - outer) for y in box[1::2])
    draw.rectangle((x1 - outer, y1 - outer, x2 + outer, y2 + outer), outline=INK, width=line + 2)
    draw.rectangle((x1 - inner, y1 - inner, x2 + inner, y2 + inner), outline=colour, width=line)


def _draw_labels(
    draw: ImageDraw.ImageDraw, size: tuple[int, int], labelled: Sequence[Label], text_size: int
) -> None:
    """Write each label at its box; the first ones (the most confident) choose their place first."""
    font, pad = _font(text_size), max(1, round(text_size * 4 / 15))
    taken: list[Rectangle] = []
    for box, text, colour in labelled:
        width, height = font.getlength(text) + 2 * pad, round(text_size * 4 / 3)
        places = list(_places(box, width, height, size))
        free = [p for p in places if not any(_overlap(p, other) for other in taken)]
        place = (free or places)[0]
        taken.append(place)
        draw.rectangle(place, fill=colour)
        draw.text((place[0] + pad, place[1] + height / 2), text, 'black', font, anchor='lm')


def _places(
    box: Rectangle, width: float, height: float, size: tuple[int, int]
) -> Iterator[Rectangle]:
    """Where a label may go, the best place first: above its box, below it, inside at the top."""
    x1, y1, x2, y2 = box
    for x in (x1 - 3, x2 + 3 - width):
        for y in (y1 - 3 - height, y2 + 3, y1 + 3):
            left = min(max(x, 0), max(size[0] - width, 0))
            upper = min(max(y, 0), max(size[1] - height, 0))
            yield left, upper, left + width, upper + height


def _overlap(a: Rectangle, b: Rectangle) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _draw_legend(sheet: Image.Image, score_thr: float) -> None:
    draw = ImageDraw.Draw(sheet)
    font = _font(15)
    x = float(GAP)
    for colour, text in (
        (TRUTH, 'truth'),
        (DETECTION, f'detection with class and score ≥ {score_thr:g}'),
    ):
        draw.rectangle((x, 12, x + 14, 26), fill=colour)
        draw.text((x + 22, 19), text, INK, font, anchor='lm')
        x += 22 + font.getlength(text) + 28


@cache
def _characters() -> frozenset[int]:
    """The characters the font has."""
    return frozenset(FT2Font(_font_file()).get_charmap())


def _font_file() -> str:
    # matplotlib ships the font, so that it is the same on every machine.
    return f'{matplotlib.get_data_path()}/fonts/ttf/DejaVuSans.ttf'


def _font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(_font_file(), size)
