"""Detections as COCO JSON, worked out by hand."""

import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData

from ssod.checks.coco import check_coco
from ssod.checks.findings import refuse_errors
from ssod.data.coco_detections import coco_of_detections, entry_of

CLASSES = ['cat', 'dog']


def sample(boxes, scores=None):
    """What a model found in an image, 320 pixels wide and 240 high."""
    found = DetDataSample(metainfo={'ori_shape': (240, 320, 3)})
    found.pred_instances = InstanceData(
        bboxes=torch.tensor(boxes).float().reshape(-1, 4),
        scores=torch.tensor(scores or [0.9] * len(boxes)),
        labels=torch.ones(len(boxes)).long(),
    )
    return found


def test_nothing_at_all():
    entry = entry_of(sample([]), 'a.png', 0.5)
    size = [240, 320]
    assert entry == dict(file_name='a.png', size=size, boxes=[], scores=[], labels=[])
    content = coco_of_detections([], CLASSES, {})
    assert (content['images'], content['annotations']) == ([], [])
    assert [category['name'] for category in content['categories']] == CLASSES


def test_boxes_with_a_score_of_at_least():
    entry = entry_of(sample([[1, 2, 11, 22], [3, 4, 5, 6]], [0.5, 0.25]), 'a.png', 0.5)
    assert (entry['boxes'], entry['scores'], entry['labels']) == ([[1, 2, 11, 22]], [0.5], [1])


@pytest.mark.parametrize(
    ('box', 'expected'),
    [
        ([10, 20, 30.126, 60], ([10, 20, 20.13, 40], 805.2)),
        # Most of it is outside, and what is left has less than a hundredth of a square pixel.
        ([319.94, 239.93, 321, 241], ([319.94, 239.93, 0.06, 0.07], 0.0042)),
        # The smallest that can be written.
        ([319.99, 239.99, 321, 241], ([319.99, 239.99, 0.01, 0.01], 0.0001)),
    ],
)
def test_every_box_that_is_written_can_be_read(box, expected):
    # Beside another one, because tiny boxes alone are taken for shares of the image.
    found = sample([box, [10, 20, 30, 60]])
    content = coco_of_detections([entry_of(found, 'a.png', 0.5)], CLASSES, {})
    annotation, _ = content['annotations']
    assert (annotation['bbox'], annotation['area']) == expected
    refuse_errors(check_coco(content, 'labels.json', 'labeled'))
