"""The true boxes of unlabelled images in their views, worked out by hand."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from mmdet.structures import DetDataSample
from mmengine.config import Config

from ssod.pseudo_labels.hidden_truth import HiddenTruth, check_hidden_truth

CLASSES = ('cat', 'dog')


def view(name, matrix=None):
    """A view of an image, 100 pixels wide and high."""
    meta = {'img_path': f'data/{name}', 'img_shape': (100, 100)}
    if matrix is not None:
        meta['homography_matrix'] = np.array(matrix)
    return DetDataSample(metainfo=meta)


def rows(instances):
    """Its boxes, each with its label."""
    return list(zip(instances.bboxes.tolist(), instances.labels.tolist(), strict=True))


def test_the_boxes_of_the_image_as_it_is(truth_file):
    true, ignored = HiddenTruth(truth_file, CLASSES).in_view(view('1.png'))
    assert rows(true) == [([0, 0, 10, 10], 0), ([80, 80, 90, 90], 1)]
    assert rows(ignored) == []
    # Classes that the data set lacks are left out.
    true, _ = HiddenTruth(truth_file, ('dog',)).in_view(view('1.png'))
    assert rows(true) == [([80, 80, 90, 90], 0)]


@pytest.mark.parametrize(
    ('shift', 'expected'),
    [
        # Twice the size: the dog is outside.
        (0, [([0, 0, 20, 20], 0)]),
        # Moved to the left, the cat is cut, and half a pixel of it is too little.
        (-10, [([0, 0, 10, 20], 0)]),
        (-19.5, []),
    ],
)
def test_the_boxes_in_a_view(truth_file, shift, expected):
    truth = HiddenTruth(truth_file, CLASSES)
    true, _ = truth.in_view(view('1.png', [[2.0, 0, shift], [0, 2, 0], [0, 0, 1]]))
    assert rows(true) == expected


@pytest.mark.parametrize('flag', ['iscrowd', 'ignore'])
def test_crowds_are_not_to_be_found(truth_file, flag):
    content = json.loads(Path(truth_file).read_text())
    content['annotations'][1][flag] = 1
    Path(truth_file).write_text(json.dumps(content))
    true, ignored = HiddenTruth(truth_file, CLASSES).in_view(view('1.png'))
    assert rows(true) == [([0, 0, 10, 10], 0)]
    assert rows(ignored) == [([80, 80, 90, 90], 1)]


def test_an_image_without_boxes_is_not_an_unknown_one(truth_file):
    content = json.loads(Path(truth_file).read_text())
    content['annotations'] = content['annotations'][:2]
    Path(truth_file).write_text(json.dumps(content))
    truth = HiddenTruth(truth_file, CLASSES)
    true, ignored = truth.in_view(view('2.png'))
    assert true.bboxes.shape == ignored.bboxes.shape == (0, 4)
    assert truth.in_view(view('3.png')) is None


def told_before_a_run(file, kind='coco'):
    """What is told of the truth of two unlabelled images."""
    hooks = {} if file is None else dict(quality=dict(ann_file=str(file)))
    images = [SimpleNamespace(path=f'data/{number}.png') for number in (1, 2)]
    data_set = SimpleNamespace(role='unlabeled', kind=kind, classes=CLASSES)
    reports = [SimpleNamespace(data_set=data_set, images=images)]
    return check_hidden_truth(Config(dict(default_hooks=hooks)), reports)


def test_what_is_told_before_a_run(truth_file, tmp_path):
    assert told_before_a_run(None) == told_before_a_run(truth_file) == []
    (finding,) = told_before_a_run(tmp_path / 'none.json')
    assert (finding.severity, finding.file) == ('error', str(tmp_path / 'none.json'))
    assert 'does not exist' in finding.what
    # Images of another kind of data set may have any names.
    assert told_before_a_run(tmp_path / 'none.json', kind='other') == []


@pytest.mark.parametrize(
    ('change', 'told'),
    [
        (lambda content: content.pop('annotations'), "it has no list 'annotations'"),
        (
            lambda content: [i.update(file_name=f'other_{i["id"]}.jpg') for i in content['images']],
            'has none of the unlabelled images',
        ),
    ],
)
def test_what_is_wrong_with_it(truth_file, change, told):
    content = json.loads(Path(truth_file).read_text())
    change(content)
    Path(truth_file).write_text(json.dumps(content))
    (finding,) = told_before_a_run(truth_file)
    assert finding.severity == 'error'
    assert told in finding.what
