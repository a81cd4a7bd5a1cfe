"""Boxes of several images as one, and apart again."""

import torch
from mmengine.structures import InstanceData

from ssod.instances import images_of_boxes, split_instances


def test_splitting_undoes_joining():
    # The second image has none.
    images = [
        InstanceData(bboxes=torch.rand(count, 4), labels=torch.arange(count)) for count in (2, 0, 3)
    ]
    apart = split_instances(InstanceData.cat(images), [2, 0, 3])
    assert [len(of_image) for of_image in apart] == [2, 0, 3]
    for found, wanted in zip(apart, images, strict=True):
        assert found.keys() == wanted.keys()
        assert torch.equal(found.bboxes, wanted.bboxes)
        assert torch.equal(found.labels, wanted.labels)


def test_the_image_of_each_box():
    assert images_of_boxes([2, 0, 3]).tolist() == [0, 0, 2, 2, 2]
    # As an index it must be of integers even if there is no box at all.
    assert torch.rand(2, 3)[images_of_boxes([0, 0])].shape == (0, 3)
