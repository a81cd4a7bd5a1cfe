"""What two images are taught, each by its own views: homographies and sizes that differ."""

from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData

from ssod.models import SemiSupervisedDetector
from ssod.projection import project_boxes
from ssod.teachers import EMATeacherHook

# The first image: the weak view is half of the file's size; the strong one shows it as it is,
# moved by 10 and -5 px. From the one to the other: (x, y) -> (2 x + 10, 2 y - 5).
# The second: the weak view begins at x = 10, the strong one is twice the file.
# From the one to the other: (x, y) -> (2 x + 20, 2 y).
WEAK = [
    ([[0.5, 0, 0], [0, 0.5, 0], [0, 0, 1]], (50, 100)),
    ([[1, 0, -10], [0, 1, 0], [0, 0, 1]], (80, 70)),
]
STRONG = [
    ([[1, 0, 10], [0, 1, -5], [0, 0, 1]], (60, 90)),
    ([[2, 0, 0], [0, 2, 0], [0, 0, 1]], (160, 120)),
]
FOUND = [[[5.0, 10, 15, 30], [30, 5, 45, 40]], [[20.0, 10, 60, 70], [35, 40, 60, 70]]]
PROJECTED = [[[20.0, 15, 40, 55], [70, 5, 100, 75]], [[60.0, 20, 140, 140], [90, 80, 140, 140]]]
# Cut at 90 x 60 px and at 120 x 160 px.
CUT = [[[20.0, 15, 40, 55], [70, 5, 90, 60]], [[60.0, 20, 120, 140], [90, 80, 120, 140]]]


def branch(views):
    samples = [
        DetDataSample(metainfo=dict(homography_matrix=np.array(m, np.float32), img_shape=shape))
        for m, shape in views
    ]
    return dict(inputs=[None] * len(views), data_samples=samples)


def taught(soft_targets=None):
    """The strong views' samples, of predictions and soft targets of both images."""
    hook = EMATeacherHook(dict(type='ScoreSelector', threshold=0.5))
    found = [
        InstanceData(bboxes=torch.tensor(b), scores=torch.ones(2), labels=torch.tensor([3, 4]))
        for b in FOUND
    ]
    model = SimpleNamespace(
        step=0, set_soft_targets=partial(SemiSupervisedDetector.set_soft_targets, None)
    )
    strong = branch(STRONG)
    hook.set_pseudo_labels(model, branch(WEAK), strong, found, soft_targets)
    return strong['data_samples']


def test_pseudo_boxes_of_two_images():
    lessons = [sample.gt_instances for sample in taught()]
    assert [lesson.bboxes.tolist() for lesson in lessons] == CUT
    assert [lesson.labels.tolist() for lesson in lessons] == [[3, 4], [3, 4]]


def test_regions_of_two_images():
    """They are carried as the boxes are, but not cut."""
    soft_targets = [
        InstanceData(priors=boxes, bboxes=boxes + 1, visible=torch.ones(2))
        for boxes in torch.tensor(FOUND)
    ]
    regions = [sample.regions for sample in taught(soft_targets)]
    # Of the last region 30 of 50 columns are in its view; by the sizes of the others none would be.
    assert [r.priors.tolist() for r in regions] == PROJECTED
    # Both views are larger by 2, and so is the 1 px by which the boxes are off.
    assert [r.bboxes.tolist() for r in regions] == (torch.tensor(PROJECTED) + 2).tolist()


@pytest.mark.parametrize('image', [0, 1])
def test_lessons_are_what_a_projection_of_one_image_gives(image):
    matrix = torch.tensor(
        [[[2.0, 0, 10], [0, 2, -5], [0, 0, 1]], [[2, 0, 20], [0, 2, 0], [0, 0, 1]]]
    )
    boxes = project_boxes(torch.tensor(FOUND[image]), matrix[image], STRONG[image][1])
    assert boxes.tolist() == CUT[image]
    assert torch.equal(taught()[image].gt_instances.bboxes, boxes)
