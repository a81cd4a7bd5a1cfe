"""Where a box begins to be wrong; what is said then is in ``bad_annotations.py``."""

import pytest

from ssod.checks.boxes import check_boxes

IMAGES = [{'id': 1, 'width': 40, 'height': 30}]


def severities(*boxes, area=1):
    annotations = [{'id': i, 'image_id': 1, 'bbox': b, 'area': area} for i, b in enumerate(boxes)]
    return [finding.severity for finding in check_boxes(IMAGES, annotations, 'a.json')]


def test_no_boxes():
    assert check_boxes([], [], 'a.json') == []
    assert check_boxes(IMAGES, [], 'a.json') == []


def test_boxes_of_images_that_are_not_there():
    assert check_boxes([], [{'id': 1, 'image_id': 1, 'bbox': [0] * 4, 'area': 0}], 'a.json') == []


@pytest.mark.parametrize(
    ('box', 'severity'),
    [
        # The whole image, and a pixel of rounding on each side.
        ([0, 0, 40, 30], None),
        ([-1, -1, 42, 32], None),
        ([-1.01, 0, 40, 30], 'warning'),
        ([0, -1.01, 40, 30], 'warning'),
        ([0, 0, 41.01, 30], 'warning'),
        ([0, 0, 40, 31.01], 'warning'),
        # mmdet leaves out what is smaller than a pixel: here all there is.
        ([5, 5, 1, 1], None),
        ([5, 5, 0.99, 1], 'error'),
        ([5, 5, 1, 0.99], 'error'),
        # The last pixel, and beside it.
        ([39, 29, 1, 1], None),
        ([40, 29, 1, 1], 'error'),
        ([39, 30, 1, 1], 'error'),
        ([-1, 0, 1, 1], 'error'),
        ([0, -1, 1, 1], 'error'),
        ([5, 5, 0, 1], 'error'),
        ([5, 5, 1, -1], 'error'),
    ],
)
def test_limits(box, severity):
    assert severities(box) == ([] if severity is None else [severity])


@pytest.mark.parametrize(('count', 'severity'), [(999, 'error'), (1000, 'warning')])
def test_few_boxes_without_area_are_no_error(count, severity):
    # One in a thousand is.
    good = [[5, 5, 2, 2]] * (count - 1)
    assert severities([5, 5, 2, 0], *good) == [severity]


@pytest.mark.parametrize(('count', 'severity'), [(2, 'warning'), (3, 'error')])
def test_most_boxes_smaller_than_a_pixel_are_an_error(count, severity):
    # Of four boxes, half are and three are: as those are that are shares of their images.
    tiny = [[0.2, 0.1, 0.5, 0.3]] * count
    assert severities(*tiny, *[[5, 5, 2, 2]] * (4 - count)) == [severity]


@pytest.mark.parametrize(
    ('some', 'count', 'severity'),
    [
        # From (20, 10) to (35, 25); not right of the first corner; fewer than ten boxes.
        ([20, 10, 35, 25], 1, 'error'),
        ([35, 10, 20, 25], 1, 'warning'),
        ([20, 10, 35, 25], 0, 'warning'),
    ],
)
def test_two_corners_are_no_sizes(some, count, severity):
    boxes = [[2, 2, 10, 20]] * (7 + count)
    assert severities(*boxes, some, some) == [severity]


def test_one_box_in_ten_that_leaves_its_image_may_be_large():
    assert severities(*[[2, 2, 10, 20]] * 9, [20, 10, 35, 25]) == ['warning']
