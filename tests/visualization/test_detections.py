from collections.abc import Sequence
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt
import pytest
import torch
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import HorizontalBoxes
from mmengine.structures import InstanceData
from PIL import Image

from ssod.visualization.detections import (
    DETECTION,
    TRUTH,
    Boxes,
    draw_boxes,
    draw_detections,
    found_boxes,
)

CLASSES = ('zero', 'one')
SIDE, GAP, HEADER, CAPTION = 384, 12, 36, 22
Box = tuple[float, float, float, float]


def blank(height: int = 96, width: int = 96) -> npt.NDArray[np.uint8]:
    return np.full((height, width, 3), (60, 0, 60), np.uint8)


def sample(
    truth: Sequence[Box] = (), found: Sequence[Box] = (), scores: Sequence[float] = ()
) -> DetDataSample:
    result = DetDataSample(metainfo={'img_path': 'images/7.png'})
    result.gt_instances = InstanceData(
        bboxes=torch.tensor(truth).reshape(-1, 4), labels=torch.zeros(len(truth), dtype=torch.long)
    )
    result.pred_instances = InstanceData(
        bboxes=torch.tensor(found).reshape(-1, 4),
        labels=torch.ones(len(found), dtype=torch.long),
        scores=torch.tensor(scores),
    )
    return result


def draw(
    path: Path,
    images: list[npt.NDArray[np.uint8]],
    samples: list[DetDataSample],
    score_thr: float = 0.3,
    columns: int = 4,
) -> npt.NDArray[np.uint8]:
    draw_detections(images, samples, CLASSES, path / 'sheet.png', score_thr, columns)
    return np.asarray(Image.open(path / 'sheet.png'))


def below_header(sheet: npt.NDArray[np.uint8], colour: tuple[int, int, int]) -> int:
    return int((sheet[HEADER:] == colour).all(axis=-1).sum())


@pytest.mark.parametrize(
    ('count', 'columns', 'width', 'height'),
    [
        (1, 4, 1, 1),  # no empty columns beside a single image
        (4, 4, 4, 1),  # a full row
        (5, 4, 4, 2),  # the fifth begins a second row
        (3, 1, 1, 3),  # all below one another
    ],
)
def test_size_of_the_sheet(
    tmp_path: Path, count: int, columns: int, width: int, height: int
) -> None:
    sheet = draw(tmp_path, [blank()] * count, [sample()] * count, columns=columns)
    assert sheet.shape == (
        HEADER + height * (SIDE + CAPTION + GAP),
        GAP + width * (SIDE + GAP),
        3,
    )


def test_no_boxes_leave_the_image_as_it_is(tmp_path: Path) -> None:
    sheet = draw(tmp_path, [blank()], [sample()])
    assert below_header(sheet, TRUTH) == below_header(sheet, DETECTION) == 0
    assert (sheet[HEADER : HEADER + SIDE, GAP : GAP + SIDE] == (60, 0, 60)).all()


def test_a_sample_without_instances_is_drawn(tmp_path: Path) -> None:
    sheet = draw(tmp_path, [blank()], [DetDataSample()])
    assert below_header(sheet, TRUTH) == below_header(sheet, DETECTION) == 0


def test_a_true_box_lies_where_it_is_in_the_image(tmp_path: Path) -> None:
    # 96 px become 384: the box from 24 to 72 px goes from 96 to 288 on the picture.
    sheet = draw(tmp_path, [blank()], [sample(truth=[(24, 24, 72, 72)])])
    picture = sheet[HEADER : HEADER + SIDE, GAP : GAP + SIDE]
    hit = (picture == TRUTH).all(axis=-1)
    ys, xs = np.nonzero(hit)
    assert (xs.min(), xs.max(), ys.min(), ys.max()) == (95, 289, 95, 289)
    assert not hit[98:287, 98:287].any()  # a frame, not a filled box
    assert below_header(sheet, DETECTION) == 0


def test_a_detection_has_a_frame_and_a_label(tmp_path: Path) -> None:
    sheet = draw(tmp_path, [blank()], [sample(found=[(24, 24, 72, 72)], scores=[0.9])])
    picture = sheet[HEADER : HEADER + SIDE, GAP : GAP + SIDE]
    hit = (picture == DETECTION).all(axis=-1)
    assert hit[96:288, 94:98].all()  # the frame's left side, 4 px thick
    label = picture[74:92, 94:150]
    assert (label == DETECTION).all(axis=-1).mean() > 0.5
    assert (label == 0).all(axis=-1).any()  # black letters on it
    assert below_header(sheet, TRUTH) == 0


def test_truth_stays_visible_on_a_perfect_detection(tmp_path: Path) -> None:
    box = (24.0, 24.0, 72.0, 72.0)
    sheet = draw(tmp_path, [blank()], [sample([box], [box], [0.9])])
    assert below_header(sheet, TRUTH) > 1000
    assert below_header(sheet, DETECTION) > 1000


@pytest.mark.parametrize(
    ('score', 'drawn'),
    [
        (0.29, False),  # below the threshold
        (0.3, True),  # the threshold itself counts
    ],
)
def test_threshold(tmp_path: Path, score: float, drawn: bool) -> None:
    found = sample(found=[(24, 24, 72, 72)], scores=[score])
    found.pred_instances.scores = found.pred_instances.scores.double()
    found.pred_instances.scores[0] = score
    assert (below_header(draw(tmp_path, [blank()], [found]), DETECTION) > 0) is drawn


@pytest.mark.parametrize(
    ('height', 'width', 'left', 'picture_height', 'picture_width'),
    [
        (48, 96, 0, 192, 384),  # wide: its row is lower
        (96, 48, 96, 384, 192),  # tall: centred in its column
        (800, 1600, 0, 192, 384),  # large ones shrink
    ],
)
def test_shapes(
    tmp_path: Path, height: int, width: int, left: int, picture_height: int, picture_width: int
) -> None:
    sheet = draw(tmp_path, [blank(height, width)], [sample()])
    assert sheet.shape[0] == HEADER + picture_height + CAPTION + GAP
    ys, xs = np.nonzero((sheet == (60, 0, 60)).all(axis=-1))
    assert (ys.min(), ys.max() + 1) == (HEADER, HEADER + picture_height)
    assert (xs.min(), xs.max() + 1) == (GAP + left, GAP + left + picture_width)


def test_a_box_beyond_the_image_is_drawn_at_its_border(tmp_path: Path) -> None:
    sheet = draw(tmp_path, [blank()], [sample(truth=[(-10, -10, 200, 200)])])
    ys, xs = np.nonzero((sheet[HEADER:] == TRUTH).all(axis=-1))
    # one pixel of dark rim lies outside
    assert (xs.min(), xs.max()) == (GAP + 1, GAP + SIDE - 2)
    assert (ys.min(), ys.max()) == (1, SIDE - 2)


@pytest.mark.parametrize(
    'corner',
    [
        30,  # as CenterNet's, whose network predicts widths below zero, too
        40,  # without a width
        float('inf'),  # as YOLOX's, which takes an exponential of them
        float('nan'),
    ],
)
def test_a_box_that_is_none_is_left_out(tmp_path: Path, corner: float) -> None:
    boxes = [(40.0, 10.0, corner, 60.0), (20.0, 20.0, 60.0, 60.0)]
    sheet = draw(tmp_path, [blank()], [sample(found=boxes, scores=[0.9, 0.8])])
    only = draw(tmp_path, [blank()], [sample(found=boxes[1:], scores=[0.8])])
    assert (sheet == only).all()


def test_labels_of_near_boxes_do_not_cover_one_another(tmp_path: Path) -> None:
    apart = draw(
        tmp_path,
        [blank()],
        [sample(found=[(24, 24, 72, 72), (24, 24, 72, 72)], scores=[0.9, 0.8])],
    )
    single = draw(tmp_path, [blank()], [sample(found=[(24, 24, 72, 72)], scores=[0.9])])
    # The frames coincide: what is more in the first picture is the second label, about 80 x 20 px.
    assert below_header(apart, DETECTION) - below_header(single, DETECTION) > 800


def test_box_objects_are_understood(tmp_path: Path) -> None:
    wrapped = sample()
    wrapped.gt_instances = InstanceData(
        bboxes=HorizontalBoxes(torch.tensor([[24.0, 24.0, 72.0, 72.0]])), labels=torch.tensor([0])
    )
    plain = draw(tmp_path, [blank()], [sample(truth=[(24, 24, 72, 72)])])
    assert (draw(tmp_path, [blank()], [wrapped]) == plain).all()


@pytest.mark.parametrize(
    ('images', 'samples'),
    [
        (0, 0),  # nothing to draw
        (2, 1),  # an image without a sample
    ],
)
def test_refuses(tmp_path: Path, images: int, samples: int) -> None:
    with pytest.raises(ValueError, match=f'{images} images and {samples} samples'):
        draw_detections([blank()] * images, [sample()] * samples, CLASSES, tmp_path / 'sheet.png')


@pytest.mark.parametrize(
    ('side', 'line'),
    [
        (60, 2),  # the frame of a small image stays wide enough to be seen
        (1000, 4),  # as on the sheet
        (3000, 12),  # three times as large, three times as wide
    ],
)
def test_a_picture_of_the_images_own_size(side: int, line: int) -> None:
    box = (0.3 * side, 0.3 * side, 0.7 * side, 0.7 * side)
    picture = draw_boxes(blank(side, side), [Boxes([box], TRUTH, 4)], own_size=True)
    assert picture.size == (side, side)
    row = np.asarray(picture)[side // 2]
    assert int((row == TRUTH).all(axis=-1).sum()) == 2 * line
    columns = np.flatnonzero((row == TRUTH).all(axis=-1))
    assert columns[:line].mean() == pytest.approx(box[0], abs=1)


def test_a_name_that_the_font_cannot_write_is_a_number() -> None:
    found = sample(found=[(0, 0, 9, 9)], scores=[0.9]).pred_instances
    assert found_boxes(found, ('zero', 'Äpfel & Ωμέγα')).texts == ['Äpfel & Ωμέγα 0.90']
    assert found_boxes(found, ('zero', '犬')).texts == ['class 1 0.90']


def test_a_file_whose_name_the_font_cannot_write_is_a_number(tmp_path: Path) -> None:
    captions = []
    for name in ('写真.png', 'image 1', 'image 2'):
        of = sample()
        of.set_metainfo({'img_path': f'images/{name}'})
        captions.append(draw(tmp_path, [blank()], [of])[HEADER + SIDE :])
    assert (captions[0] == captions[1]).all()
    assert (captions[0] != captions[2]).any()


def test_counts_fit_beside_a_long_name(tmp_path: Path) -> None:
    long = sample()
    long.set_metainfo({'img_path': f'images/{100 * "x"}.png'})
    captions = [draw(tmp_path, [blank()], [of])[HEADER + SIDE :] for of in (long, sample())]
    # The short caption ends long before the right side, and so does the long one.
    assert all((caption[:, -3 * GAP :] == 255).all() for caption in captions)
    assert (captions[0] != captions[1]).any()


def test_a_failure_leaves_the_old_sheet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw(tmp_path, [blank()], [sample()])
    before = (tmp_path / 'sheet.png').read_bytes()

    def cut_off(_: Image.Image, file: IO[bytes], *__: str) -> None:
        file.write(b'half')
        raise OSError('no space left')

    monkeypatch.setattr(Image.Image, 'save', cut_off)
    with pytest.raises(OSError, match='no space left'):
        draw(tmp_path, [blank()], [sample()])
    assert (tmp_path / 'sheet.png').read_bytes() == before
