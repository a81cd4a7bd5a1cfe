"""MixPL's erased patches in the views of a batch, before there is anything to mix them with."""

import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData

from ssod.data.branches import Branch
from ssod.recipes.mixpl import MixPLHook

GREY = 100


def views(count):
    """Strong views of 7s, each with a box in the upper left corner."""
    samples = [DetDataSample(metainfo=dict(img_shape=(20, 30))) for _ in range(count)]
    for sample in samples:
        boxes = torch.tensor([[0.0, 0, 10, 10]])
        sample.gt_instances = InstanceData(bboxes=boxes, labels=torch.zeros(1).long())
    images = [torch.full((3, 20, 30), 7, dtype=torch.uint8) for _ in samples]
    return Branch(inputs=images, data_samples=samples)


# Three patches in each view, and none.
@pytest.mark.parametrize('patches', [3, 0])
def test_views_are_erased_while_too_few_were_seen(patches):
    np.random.seed(0)
    hook = MixPLHook(patches=(patches, patches), patch_side=0.5, most_erased=1.0)
    hook._colour = torch.full((3, 1, 1), GREY, dtype=torch.uint8)
    made = hook.mixed(views(4))
    assert len(made['inputs']) == 4
    for image in made['inputs']:
        assert {*image.unique().tolist()} == ({7, GREY} if patches else {7})
    # They are remembered as they were.
    assert all((lesson.image == 7).all() for lesson in hook.cache)


def test_boxes_that_are_erased_are_not_learnt():
    np.random.seed(0)
    hook = MixPLHook(patches=(3, 3), patch_side=0.5, most_erased=0.01)
    hook._colour = torch.full((3, 1, 1), GREY, dtype=torch.uint8)
    made = hook.mixed(views(20))
    # Those that remain are whole, and some are gone; all are remembered.
    assert all((image[:, :10, :10] == 7).all() for image in made['inputs'])
    assert 0 < len(made['inputs']) < 20
    assert all(len(lesson.instances) == 1 for lesson in hook.cache)
