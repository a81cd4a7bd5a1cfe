"""Boxes carried between views, against boxes computed by hand."""

import math

import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import bbox_project
from mmengine.structures import InstanceData

from ssod.projection import file_to_view, project_boxes, project_instances, view_to_view

HALF = np.diag([0.5, 0.5, 1.0])
STRETCH = np.diag([2.0, 1.0, 1.0])
FLIP_100 = np.array([[-1.0, 0, 100], [0, 1, 0], [0, 0, 1]])
SHIFT = np.array([[1.0, 0, 10], [0, 1, -5], [0, 0, 1]])
TURN_90 = np.array([[0.0, -1, 100], [1, 0, 0], [0, 0, 1]])
SHEAR = np.array([[1.0, 0.5, 0], [0, 1, 0], [0, 0, 1]])


def view(matrix=None, img_shape=(100, 100)):
    meta = {'img_shape': img_shape}
    if matrix is not None:
        meta['homography_matrix'] = np.asarray(matrix, dtype=np.float32)
    return DetDataSample(metainfo=meta)


@pytest.mark.parametrize(
    ('matrix', 'box', 'expected'),
    [
        # The identity moves nothing.
        (np.eye(3), [10, 20, 30, 60], [10, 20, 30, 60]),
        # Resize by a half, and by different factors.
        (HALF, [10, 20, 30, 60], [5, 10, 15, 30]),
        (STRETCH, [10, 20, 30, 60], [20, 20, 60, 60]),
        # A flip in a 100 px wide view swaps left and right.
        (FLIP_100, [10, 20, 30, 60], [70, 20, 90, 60]),
        # A crop at (-10, 5) shifts.
        (SHIFT, [10, 20, 30, 60], [20, 15, 40, 55]),
        # A quarter turn swaps the sides: (x, y) -> (100 - y, x).
        (TURN_90, [10, 20, 30, 60], [40, 10, 80, 30]),
        # A shear of the ellipse with half axes 10 and 20 around (20, 40): its centre moves by half
        # of 40, its half width becomes sqrt(10^2 + (0.5 * 20)^2) = 14.1421.
        (SHEAR, [10, 20, 30, 60], [25.8579, 20, 54.1421, 60]),
        # Compositions, the right one first.
        (FLIP_100 @ HALF, [10, 20, 30, 60], [85, 10, 95, 30]),
        (HALF @ FLIP_100, [10, 20, 30, 60], [35, 10, 45, 30]),
        (SHIFT @ TURN_90 @ HALF, [10, 20, 30, 60], [80, 0, 100, 10]),
    ],
)
def test_hand_computed(matrix, box, expected):
    projected = project_boxes(torch.tensor([box]).float(), torch.from_numpy(matrix))
    torch.testing.assert_close(projected, torch.tensor([expected]).float())


def test_no_boxes():
    assert project_boxes(torch.zeros(0, 4), torch.eye(3)).shape == (0, 4)


def test_clipping():
    boxes = torch.tensor([[-10.0, -20, 50, 60], [90, 90, 200, 300], [-9, -9, -1, -1]])
    clipped = project_boxes(boxes, torch.eye(3), (80, 100))
    assert clipped.tolist() == [[0, 0, 50, 60], [90, 80, 100, 80], [0, 0, 0, 0]]


def some_boxes(generator):
    boxes = torch.rand(50, 4, generator=generator) * 100
    boxes[:, 2:] += boxes[:, :2]
    return boxes


def test_equal_to_mmdet_without_rotation_and_shear():
    generator = torch.Generator().manual_seed(0)
    boxes = some_boxes(generator)
    for _ in range(10):
        # Any scale, flip and shift.
        matrix = torch.diag(torch.cat([torch.randn(2, generator=generator), torch.ones(1)]))
        matrix[:2, 2] = torch.randn(2, generator=generator) * 50
        torch.testing.assert_close(
            project_boxes(boxes, matrix, (150, 120)),
            bbox_project(boxes.clone(), matrix, (150, 120)),
            atol=1e-4,
            rtol=1e-5,
        )


def test_the_box_of_the_ellipse():
    # Against the extremes of many points on each ellipse, for any affine matrix.
    generator = torch.Generator().manual_seed(0)
    boxes = some_boxes(generator)
    angles = torch.linspace(0, 2 * math.pi, 3601)
    circle = torch.stack([angles.cos(), angles.sin()], dim=-1)
    ellipses = (boxes[:, None, :2] + boxes[:, None, 2:]) / 2
    ellipses = ellipses + circle * (boxes[:, None, 2:] - boxes[:, None, :2]) / 2
    for _ in range(10):
        matrix = torch.eye(3)
        matrix[:2] += torch.randn(2, 3, generator=generator)
        points = ellipses @ matrix[:2, :2].T + matrix[:2, 2]
        expected = torch.cat([points.amin(dim=1), points.amax(dim=1)], dim=1)
        torch.testing.assert_close(project_boxes(boxes, matrix), expected, atol=1e-2, rtol=1e-4)


def test_a_rotated_square_does_not_grow():
    # Its hull would have (cos + sin)^2 = 1.5 times its area at 15 degrees.
    c, s = math.cos(math.radians(15)), math.sin(math.radians(15))
    turn = torch.tensor([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    turned = project_boxes(torch.tensor([[-5.0, -5, 5, 5]]), turn)
    torch.testing.assert_close(turned, torch.tensor([[-5.0, -5, 5, 5]]))


def test_perspective():
    # x -> x / (1 + x / 100): from 99 to 101 the slope is 1 / (1 + 1)^2, and 100 goes to 50.
    matrix = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0.01, 0, 1]])
    found = project_boxes(torch.tensor([[99.0, -1, 101, 1]]), matrix)
    torch.testing.assert_close(found, torch.tensor([[49.75, -0.5, 50.25, 0.5]]))


def test_float32_inside_autocast():
    # Trap: bfloat16 moves a corner at 1333 px by several pixels.
    box, matrix = torch.tensor([[1001.0, 501, 1333, 799]]), torch.from_numpy(FLIP_100 @ SHIFT)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        projected = project_boxes(box, matrix)
    assert projected.dtype == torch.float32
    assert projected.tolist() == [[-1243.0, 496.0, -911.0, 794.0]]
    assert project_boxes(box.half(), matrix).dtype == torch.float32


def test_file_to_view():
    # In float64, so that its inverse is exact; a view without a matrix is the file itself.
    matrix = file_to_view(view(HALF))
    assert (matrix.dtype, matrix.diagonal().tolist()) == (torch.float64, [0.5, 0.5, 1])
    assert torch.equal(file_to_view(view()), torch.eye(3, dtype=torch.float64))
    # A copy: what is done to it does not move the view.
    flipped = DetDataSample(metainfo={'homography_matrix': FLIP_100.copy()})
    file_to_view(flipped).zero_()
    assert torch.equal(file_to_view(flipped), torch.from_numpy(FLIP_100))


def test_view_to_view():
    # From the half-size view to the flipped one: back to the file, then flip.
    # A view without a matrix is the file itself.
    sources, targets = [view(HALF), view(), view(HALF)], [view(FLIP_100), view(), view()]
    matrix, none, doubled = view_to_view(sources, targets)
    projected = project_boxes(torch.tensor([[5.0, 10, 15, 30]]), matrix)
    assert projected.tolist() == [[70, 20, 90, 60]]
    assert torch.equal(none, torch.eye(3))
    assert doubled.diagonal().tolist() == [2, 2, 1]


def test_project_instances_drops_what_is_tiny_or_outside():
    found = InstanceData(
        bboxes=torch.tensor(
            [[10.0, 10, 30, 30], [99, 50, 120, 60], [150, 0, 180, 20], [5, 5, 5.5, 40]]
        ),
        scores=torch.tensor([0.9, 0.8, 0.7, 0.6]),
        labels=torch.tensor([3, 1, 2, 0]),
    )
    (moved,) = project_instances([found], torch.eye(3)[None], [(100, 100)], min_size=1.0)
    # Kept whole; kept as the 1 px that is inside; outside; too narrow.
    assert moved.labels.tolist() == [3, 1]
    assert moved.bboxes.tolist() == [[10, 10, 30, 30], [99, 50, 100, 60]]
    assert moved.scores.tolist() == pytest.approx([0.9, 0.8])
    # What came in stays as it was.
    assert found.bboxes[1].tolist() == [99, 50, 120, 60]


def test_project_instances_of_nothing():
    none = InstanceData(
        bboxes=torch.zeros(0, 4), scores=torch.zeros(0), labels=torch.zeros(0, dtype=torch.long)
    )
    assert [len(p) for p in project_instances([none], torch.eye(3)[None], [(10, 10)], 1.0)] == [0]


def test_project_instances_of_some_images():
    """As of each by itself."""
    generator = torch.Generator().manual_seed(0)
    # The last row is perspective.
    scale = torch.tensor([[0.1], [0.1], [0.001]])
    matrices = torch.eye(3) + scale * torch.randn(3, 3, 3, generator=generator)
    shapes = [(50, 60), (80, 40), (64, 64)]
    found = []
    for count in (4, 0, 3):
        corners = 60 * torch.rand(count, 2, 2, generator=generator).sort(dim=1).values
        found.append(InstanceData(bboxes=corners.flatten(1), scores=torch.rand(count)))
    together = project_instances(found, matrices, shapes, min_size=5.0)
    kept = 0
    for moved, image, matrix, shape in zip(together, found, matrices, shapes, strict=True):
        boxes = project_boxes(image.bboxes, matrix, shape)
        large = (boxes[:, 2:] - boxes[:, :2] >= 5).all(dim=1)
        torch.testing.assert_close(moved.bboxes, boxes[large])
        assert torch.equal(moved.scores, image.scores[large])
        kept += len(moved)
    assert 0 < kept < 7
