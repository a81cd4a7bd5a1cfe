"""Pseudo-labels that are stored, looked up by the paths of images."""

import json

import pytest
import torch
from mmdet.structures import DetDataSample

from ssod.pseudo_labels.stored_labels import StoredLabels

CLASSES = ('cat', 'dog')
SIZE = {'width': 64, 'height': 48}
BOX = {'bbox': [1, 2, 3, 4], 'area': 12}


def stored(tmp_path, **changes):
    content = {
        'images': [
            {'id': 5, 'file_name': 'a/1.png', **SIZE},
            {'id': 3, 'file_name': '2.png', **SIZE},
        ],
        'annotations': [
            {'id': 1, 'image_id': 5, 'category_id': 4, **BOX, 'score': 0.5},
            {'id': 2, 'image_id': 5, 'category_id': 9, 'bbox': [0, 0, 8, 8], 'area': 64},
        ],
        'categories': [{'id': 4, 'name': 'dog'}, {'id': 9, 'name': 'cat'}],
    }
    path = tmp_path / 'labels.json'
    path.write_text(json.dumps(content | changes))
    return StoredLabels(path, CLASSES)


@pytest.mark.parametrize('img_path', ['a/1.png', '/data/a/1.png', 'x/y/a/1.png'])
def test_labels_are_found_by_the_path(tmp_path, img_path):
    found = stored(tmp_path).of(img_path)
    assert found.bboxes.tolist() == [[1, 2, 4, 6], [0, 0, 8, 8]]
    # By the classes' names; a box that has no score was corrected by hand.
    assert found.labels.tolist() == [1, 0]
    assert found.scores.tolist() == [0.5, 1.0]


def test_they_come_into_a_view(tmp_path):
    """Twice as wide, and five pixels lower."""
    matrix = [[2.0, 0.0, 0.0], [0.0, 1.0, 5.0], [0.0, 0.0, 1.0]]
    view = DetDataSample(metainfo={'img_path': 'a/1.png', 'homography_matrix': matrix})
    assert stored(tmp_path).in_view(view).bboxes.tolist() == [[2, 7, 8, 11], [0, 5, 16, 13]]


def test_an_image_without_objects(tmp_path):
    found = stored(tmp_path).of('images/2.png')
    assert (found.bboxes.shape, found.scores.shape, found.labels.shape) == ((0, 4), (0,), (0,))


def test_no_objects_at_all(tmp_path):
    found = stored(tmp_path, annotations=[]).of('a/1.png')
    assert found.bboxes.shape == (0, 4)
    assert found.labels.dtype == torch.long


@pytest.mark.parametrize('img_path', ['1.png', 'b/1.png'])
def test_an_unknown_image_is_refused(tmp_path, img_path):
    with pytest.raises(ValueError, match=rf'labels.json has no image {img_path}; make'):
        stored(tmp_path).of(img_path)


def test_two_images_cannot_have_the_boxes_of_one(tmp_path):
    found = stored(tmp_path)
    assert len(found.of('/data/a/1.png')) == len(found.of('/data/./a/1.png')) == 2
    with pytest.raises(ValueError, match="'a/1.png' could be /data/a/1.png or /data/new/a/1.png"):
        found.of('/data/new/a/1.png')


def test_a_name_that_is_there_twice_is_refused(tmp_path):
    names = ['1.png', '2.png', '1.png']
    images = [{'id': i, 'file_name': name, **SIZE} for i, name in enumerate(names)]
    message = r"labels\.json: images has 1 file_name .* such as '1\.png'; make"
    with pytest.raises(ValueError, match=message):
        stored(tmp_path, images=images, annotations=[])


def test_ids_may_be_texts(tmp_path):
    # In the order of texts 10 comes before 9.
    images = [{'id': str(i), 'file_name': f'{i}.png', **SIZE} for i in range(1, 13)]
    given = [
        {'id': f'{i}-{n}', 'image_id': str(i), 'category_id': 4, **BOX, 'score': i / 100}
        for n in range(2)
        for i in (12, 1, 10, 9, 3)
    ]
    found = stored(tmp_path, images=images, annotations=given)
    for i in range(1, 13):
        scores = found.of(f'{i}.png').scores
        assert scores.tolist() == pytest.approx([i / 100] * 2 if i in (1, 3, 9, 10, 12) else [])


def test_a_score_that_is_null_is_none(tmp_path):
    box = {'id': 1, 'image_id': 5, 'category_id': 4, **BOX, 'score': None}
    assert stored(tmp_path, annotations=[box]).of('a/1.png').scores.tolist() == [1.0]


@pytest.mark.parametrize(
    ('wrong', 'told'),
    [
        ({'category_id': 7}, r'annotations\[0\] \(id 1\) is of category 7, which does not exist'),
        ({'image_id': 6}, r'annotations\[0\] \(id 1\) is of image 6, which does not exist'),
        ({'bbox': []}, r"labels\.json: 'bbox' of annotations\[0\] \(id 1\) is \[\]"),
    ],
)
def test_a_wrong_correction_is_refused(tmp_path, wrong, told):
    box = {'id': 1, 'image_id': 5, 'category_id': 4, **BOX}
    with pytest.raises(ValueError, match=told):
        stored(tmp_path, annotations=[box | wrong])


def test_an_unknown_class_is_refused(tmp_path):
    categories = [{'id': 4, 'name': 'dog'}, {'id': 9, 'name': 'cow'}]
    with pytest.raises(
        ValueError, match="'cow' is not a class of the data set, which has cat, dog"
    ):
        stored(tmp_path, categories=categories)
