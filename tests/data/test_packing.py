"""Views as the model takes them: what mmdet's own packing makes of the same."""

import copy
import pickle

import numpy as np
import pytest
import torch
from mmdet.datasets.transforms import PackDetInputs
from mmdet.structures.bbox import HorizontalBoxes

from ssod.data.packing import NoBoxes, Packing, planes

KEYS = ('img_id', 'img_path', 'img_shape', 'homography_matrix', 'tags', 'not there')
IMAGE = np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3)


def results(boxes, count):
    return {
        'img': IMAGE,
        'img_id': 7,
        'img_path': 'a.jpg',
        'img_shape': (4, 5),
        'homography_matrix': np.eye(3),
        'tags': ['night'],
        'gt_bboxes': boxes,
        'gt_bboxes_labels': np.arange(count),
        'gt_ignore_flags': np.arange(count) > 1,
    }


def described(sample):
    """All that a data sample holds, with types."""
    parts = {}
    for name in sample.keys():  # noqa: SIM118
        instances = sample.get(name)
        boxes = instances.bboxes
        parts[name] = (type(boxes), boxes.tensor.tolist(), boxes.tensor.dtype, len(instances))
        parts[name] += (instances.labels.tolist(), instances.labels.dtype, {*instances.keys()})
    known = {key: np.asarray(value).tolist() for key, value in sample.metainfo.items()}
    return parts, known


@pytest.mark.parametrize('count', [0, 1, 3])
def test_as_mmdet(count):
    corners = np.arange(4 * count, dtype=np.float32).reshape(count, 4)
    theirs = PackDetInputs(meta_keys=KEYS)(results(HorizontalBoxes(corners), count))
    ours = [Packing(KEYS)(results(HorizontalBoxes(corners), count))]
    if not count:
        ours.append(Packing(KEYS)(results(NoBoxes(), 0)))
    for found in ours:
        assert torch.equal(found['inputs'], theirs['inputs'])
        assert described(found['data_samples']) == described(theirs['data_samples'])


def test_nothing_is_shared():
    given = results(NoBoxes(), 0)
    one, other = (Packing(KEYS)(given)['data_samples'] for _ in range(2))
    one.homography_matrix[:] = 5
    one.tags.append('rain')
    one.gt_instances.bboxes = torch.ones(2, 4)
    one.set_metainfo({'flip': True})
    assert other.homography_matrix.tolist() == given['homography_matrix'].tolist()
    assert other.tags == given['tags'] == ['night']
    assert len(other.gt_instances) == len(other.ignored_instances) == 0
    assert 'flip' not in other


@pytest.mark.parametrize(
    'image',
    [
        IMAGE,
        IMAGE[:, ::-1],
        # Laid out by channels already, as mmdet's distortion leaves it.
        IMAGE[..., [2, 0, 1]].astype(np.float32),
        IMAGE[..., :1],
        IMAGE[..., 0],
        np.zeros((3, 2, 4), np.float32),
    ],
)
def test_planes(image):
    found = planes(image)
    expected = image[..., None] if image.ndim == 2 else image
    assert found.permute(1, 2, 0).is_contiguous()
    assert found.numpy().dtype == image.dtype
    assert np.array_equal(found.permute(1, 2, 0).numpy(), expected)


def test_no_boxes():
    boxes = NoBoxes()
    boxes.project_(np.eye(3))
    boxes.clip_((4, 5))
    boxes.rescale_((2.0, 2.0))
    boxes.flip_((4, 5))
    boxes.translate_((1.0, 1.0))
    boxes.rotate_((0.0, 0.0), 30.0)
    boxes.resize_((2.0, 2.0))
    assert boxes.tensor.shape == (0, 4)
    assert type(pickle.loads(pickle.dumps(copy.deepcopy(boxes)))) is NoBoxes
    # What may become more than none is an ordinary set of boxes.
    some = [boxes[np.zeros(0, np.int64)], boxes.clone(), boxes.empty_boxes(), boxes.to('cpu')]
    some += [
        boxes.fake_boxes((2, 4)),
        HorizontalBoxes.cat([boxes, HorizontalBoxes([[0, 0, 1, 1]])]),
    ]
    assert {type(one) for one in some} == {HorizontalBoxes}
    assert [len(one) for one in some] == [0, 0, 0, 0, 2, 1]


def test_proposals_are_packed_too():
    given = {**results(NoBoxes(), 0), 'proposals': np.ones((2, 4)), 'proposals_scores': np.ones(2)}
    assert len(Packing(KEYS)(given)['data_samples'].proposals) == 2
