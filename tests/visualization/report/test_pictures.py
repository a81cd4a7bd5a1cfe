"""Pictures of the page: what is cut out, which mistakes are shown, what stands below them."""

import base64
import io

import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from PIL import Image

from ssod.pseudo_labels.verdicts import Verdict
from ssod.visualization.detections import DETECTION, TRUTH
from ssod.visualization.report.images import View
from ssod.visualization.report.looks import Lesson, Scored
from ssod.visualization.report.pictures import (
    LEFT_OUT,
    crop,
    lesson_pictures,
    mistake_pictures,
    picture_of,
    scored_picture,
    truth_boxes,
    verdict_counts,
)

CLASSES = ('<cat>', 'dog')


@pytest.fixture
def scored(tmp_path):
    """Makes a validation image of 200 x 100 with detections (score, label, verdict)."""

    def scored(*rows, name='a&b.png'):
        path = tmp_path / name
        Image.fromarray(np.full((100, 200, 3), 80, np.uint8)).save(path)
        found = InstanceData(
            bboxes=torch.tensor([[90.0, 40, 110, 60]] * len(rows)).reshape(-1, 4),
            scores=torch.tensor([row[0] for row in rows]),
            labels=torch.tensor([row[1] for row in rows]).long(),
        )
        truth = InstanceData(bboxes=torch.tensor([[90.0, 40, 112, 62]]), labels=torch.tensor([1]))
        return Scored(str(path), found, truth, [row[2] for row in rows], None)

    return scored


def pixels(picture):
    head, code = picture.uri.split(',')
    assert head == 'data:image/webp;base64'
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(code))).convert('RGB')).astype(int)


def has(picture, colour):
    """Whether a colour is there, as nearly as WebP keeps it."""
    return bool((abs(pixels(picture) - colour).max(axis=-1) < 30).any())


def test_boxes_that_are_not_taught_and_are_none():
    # A box, one with its corners swapped, as an untrained detector may give it, and one that is
    # taught.
    found = InstanceData(
        bboxes=torch.tensor([[10.0, 10, 90, 60], [40, 60, 20, 30], [100, 20, 180, 80]]),
        scores=torch.tensor([0.3, 0.4, 0.9]),
        labels=torch.tensor([0, 0, 1]),
    )
    chosen = torch.tensor([False, False, True])
    sample = DetDataSample(metainfo={'img_path': 'a.png'})
    view = View(torch.full((3, 100, 200), 80), sample, None)
    weak, strong = lesson_pictures(Lesson(found, chosen, None, view, view, found[chosen]), CLASSES)
    assert has(weak, LEFT_OUT) and has(weak, DETECTION)
    assert weak.note == 'weak view: 1 taught, 2 not taught'
    assert not has(strong, LEFT_OUT) and has(strong, DETECTION)


@pytest.mark.parametrize(
    ('box', 'corner', 'size'),
    [
        # Three times the longer side, around the box.
        ((90, 40, 110, 50), (70, 15), (60, 60)),
        # Never less than 48 px.
        ((100, 50, 101, 51), (76, 26), (48, 48)),
        # Moved into the image at its corners, not cut.
        ((0, 0, 20, 20), (0, 0), (60, 60)),
        ((180, 80, 200, 100), (140, 40), (60, 60)),
        # No larger than the image.
        ((50, 0, 150, 100), (0, 0), (100, 200)),
        # A box outside is no error.
        ((300, 200, 310, 210), (152, 52), (48, 48)),
    ],
)
def test_crop(box, corner, size):
    part, found = crop(np.zeros((100, 200, 3), np.uint8), box)
    assert found == corner
    assert part.shape[:2] == size


def test_a_picture_holds_the_image():
    picture = picture_of(Image.new('RGB', (30, 20), (200, 100, 50)), 'title', 'note')
    assert (picture.width, picture.height, picture.title) == (30, 20, 'title')
    assert has(picture, (200, 100, 50))


def test_detections_and_truth_are_drawn(scored):
    image = scored((0.9, 0, Verdict('wrong class', 0)), (0.2, 0, Verdict('background', None)))
    picture = scored_picture(image, CLASSES, score_thr=0.3)
    assert (picture.title, picture.note) == ('a&b.png', '1 true, 1 found')
    assert has(picture, DETECTION) and has(picture, TRUTH)
    assert not has(scored_picture(image, CLASSES, score_thr=0.95), DETECTION)


def test_a_true_class_that_the_font_cannot_write_is_a_number():
    truth = InstanceData(bboxes=torch.zeros(2, 4), labels=torch.tensor([1, 0]))
    assert truth_boxes(truth, ('犬', 'cat')).texts == ['cat', 'class 0']
    assert truth_boxes(truth).texts == []


def test_no_images_have_no_mistakes():
    assert mistake_pictures([], CLASSES, 5, 0.3) == []
    assert verdict_counts([], 0.3) == []


def test_the_surest_mistakes_come_first(scored):
    images = [
        scored(
            (0.99, 0, Verdict('right', 0)),
            (0.98, 0, Verdict('wrong place', 0)),
            (0.97, 0, Verdict('found twice', 0)),
            (0.5, 0, Verdict('background', None)),
        ),
        scored((0.8, 0, Verdict('wrong class', 0)), name='b.png'),
        scored((0.4, 1, Verdict('background', None)), name='c.png'),
    ]
    shown = mistake_pictures(images, CLASSES, 2, 0.3)
    assert [(picture.title, picture.note) for picture in shown] == [
        ('<cat>, score 0.80: true: dog', 'b.png'),
        ('<cat>, score 0.50: nothing there', 'a&b.png'),
    ]
    assert [has(picture, TRUTH) for picture in shown] == [True, False]
    assert len(mistake_pictures(images, CLASSES, 9, 0.3)) == 3
    assert len(mistake_pictures(images, CLASSES, 9, 0.45)) == 2
    # Those that are drawn are counted, with what is right.
    assert dict(verdict_counts(images, 0.6)) == {
        'right': 1,
        'wrong place': 1,
        'found twice': 1,
        'wrong class': 1,
    }
