"""Pseudo-labels that are made once and kept in a file."""

import json

import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData

from ssod.pseudo_labels.offline import StoredLabels, label_images

CLASSES = ('cat', 'dog')


class Predictor:
    """Finds in each image two boxes of the scores 0.9 and 0.3; may stop after some images."""

    def __init__(self, images=10**9):
        self.left = images
        self.seen = []

    def eval(self):
        return self

    def test_step(self, batch):
        predicted = []
        for sample in batch['data_samples']:
            if self.left == 0:
                raise KeyboardInterrupt
            self.left -= 1
            self.seen.append(sample.img_path)
            done = DetDataSample(metainfo=sample.metainfo)
            done.pred_instances = InstanceData(
                bboxes=torch.tensor([[10.0, 20, 30.126, 60], [0, 0, 8, 8]]),
                scores=torch.tensor([0.9, 0.3]),
                labels=torch.tensor([7, 0]),
            )
            predicted.append(done)
        return predicted


@pytest.fixture
def cfg(scored_cfg):
    scored_cfg.val_dataloader.update(batch_size=4, num_workers=0)
    return scored_cfg


def label(cfg, path, model, source='a', min_score=0.5):
    return label_images(cfg, model, path, source, min_score)


def test_the_file(cfg, tmp_path):
    path = tmp_path / 'new' / 'labels.json'
    assert label(cfg, path, Predictor()) == 18
    content = json.loads(path.read_text())
    assert content['info'] == {'source': 'a', 'min_score': 0.5}
    assert [c['name'] for c in content['categories']] == [str(digit) for digit in range(10)]
    # Two of twenty images are labelled.
    assert len({image['file_name'] for image in content['images']}) == 18
    assert content['images'][0].keys() == {'id', 'file_name', 'height', 'width'}
    assert {(i['height'], i['width']) for i in content['images']} == {(96, 96)}
    assert len(content['annotations']) == 18
    first = content['annotations'][0]
    assert first.pop('id') == first.pop('image_id') == 1
    wanted = dict(category_id=8, bbox=[10.0, 20.0, 20.13, 40.0], iscrowd=0, score=0.9)
    assert first == wanted | dict(area=805.2)
    assert [p.name for p in path.parent.iterdir()] == ['labels.json']


def test_an_interrupted_call_goes_on(cfg, tmp_path):
    path = tmp_path / 'labels.json'
    with pytest.raises(KeyboardInterrupt):
        label(cfg, path, Predictor(images=10))
    assert not path.exists()
    # The last of four batches was lost with the interruption.
    rest = Predictor()
    label(cfg, path, rest)
    assert len(rest.seen) == 18 - 8
    whole = tmp_path / 'whole.json'
    label(cfg, whole, Predictor())
    assert json.loads(path.read_text()) == json.loads(whole.read_text())


@pytest.mark.parametrize(('source', 'min_score'), [('b', 0.5), ('a', 0.1)])
def test_what_another_call_began_is_not_mixed_in(cfg, tmp_path, source, min_score):
    path = tmp_path / 'labels.json'
    with pytest.raises(KeyboardInterrupt):
        label(cfg, path, Predictor(images=10))
    again = Predictor()
    label(cfg, path, again, source, min_score)
    assert len(again.seen) == 18


def test_a_config_without_unlabelled_images_is_refused(cfg, tmp_path):
    datasets = cfg.train_dataloader.dataset.datasets
    cfg.train_dataloader.dataset.datasets = datasets[:1]
    with pytest.raises(ValueError, match='has no unlabelled images'):
        label(cfg, tmp_path / 'labels.json', Predictor())


def stored(tmp_path, **changes):
    content = {
        'images': [{'id': 5, 'file_name': 'a/1.png'}, {'id': 3, 'file_name': '2.png'}],
        'annotations': [
            {'image_id': 5, 'category_id': 4, 'bbox': [1, 2, 3, 4], 'score': 0.5},
            {'image_id': 5, 'category_id': 9, 'bbox': [0, 0, 8, 8]},
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


def test_an_unknown_class_is_refused(tmp_path):
    categories = [{'id': 4, 'name': 'dog'}, {'id': 9, 'name': 'cow'}]
    with pytest.raises(ValueError, match="'cow' is no class of the data set, which has cat, dog"):
        stored(tmp_path, categories=categories)
