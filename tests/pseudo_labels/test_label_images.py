"""Pseudo-labels that are made once and kept in a file."""

import json
import os
import shutil

import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from PIL import Image

from ssod.own_data import use_folder
from ssod.pseudo_labels.label_images import label_images
from ssod.pseudo_labels.stored_labels import StoredLabels

CLASSES = ('cat', 'dog')


class Predictor:
    """Finds in each image two boxes of the scores 0.9 and 0.3; may stop after some images."""

    def __init__(self, images=10**9, weight=0.0):
        self.left = images
        self.weight = weight
        self.seen = []

    def state_dict(self):
        return {'weight': torch.tensor(self.weight)}

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
    scored_cfg.test_dataloader.update(batch_size=4, num_workers=0)
    return scored_cfg


def label(cfg, path, model, source='a', min_score=0.5):
    return label_images(cfg, model, list('0123456789'), path, source, min_score)


def interrupt(cfg, path):
    """A call that has labelled the first eight of ten or more images."""
    with pytest.raises(KeyboardInterrupt):
        label(cfg, path, Predictor(images=8))


def photos(folder, names, grey=0):
    """Images of one colour."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new('RGB', (32, 32), (grey,) * 3).save(folder / name)
    return folder


def two_folders(cfg, first, second):
    """Put two unlabelled sources into a config."""
    use_folder(cfg, first)
    *_, source = sources = cfg.train_dataloader.dataset.datasets
    both = [source, {**source, 'data_root': str(second)}]
    cfg.train_dataloader.dataset.datasets = [sources[0], *both]


def names_in(path):
    return [image['file_name'] for image in json.loads(path.read_text())['images']]


def test_the_file(cfg, digits, tmp_path):
    path = tmp_path / 'new' / 'labels.json'
    assert label(cfg, path, Predictor()) == 18
    content = json.loads(path.read_text())
    root = str(digits / 'images/train')
    assert content['info'] == {'source': 'a', 'min_score': 0.5, 'images': root}
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
    label(cfg, tmp_path / 'whole.json', Predictor())
    assert json.loads(path.read_text()) == json.loads((tmp_path / 'whole.json').read_text())


def test_a_call_that_is_interrupted_twice_loses_nothing(cfg, tmp_path, monkeypatch):
    path, begun = tmp_path / 'labels.json', tmp_path / '.labels.json.begun'
    interrupt(cfg, path)
    kept = begun.read_text()

    def killed(*_):
        assert begun.read_text() == kept
        raise KeyboardInterrupt

    monkeypatch.setattr('ssod.pseudo_labels.label_images._label', killed)
    interrupt(cfg, path)


@pytest.mark.parametrize(('source', 'min_score'), [('b', 0.5), ('a', 0.1)])
def test_what_another_call_began_is_not_mixed_in(cfg, tmp_path, source, min_score):
    path = tmp_path / 'labels.json'
    interrupt(cfg, path)
    again = Predictor()
    label(cfg, path, again, source, min_score)
    assert len(again.seen) == 18


def test_what_was_begun_in_another_folder_is_not_mixed_in(cfg, tmp_path):
    path = tmp_path / 'labels.json'
    names = [f'{i}.png' for i in range(10)]
    use_folder(cfg, photos(tmp_path / 'a', [*names, '00_only_here.png']))
    interrupt(cfg, path)
    use_folder(cfg, photos(tmp_path / 'b', names))
    again = Predictor()
    assert label(cfg, path, again) == 10
    assert again.seen == [str(tmp_path / 'b' / name) for name in names]
    assert names_in(path) == names


def test_what_has_left_the_folder_is_not_written(cfg, tmp_path):
    path = tmp_path / 'labels.json'
    names = [f'{i}.png' for i in range(10)]
    use_folder(cfg, photos(tmp_path / 'a', names))
    interrupt(cfg, path)
    (tmp_path / 'a/3.png').unlink()
    again = Predictor()
    assert label(cfg, path, again) == 9
    assert len(again.seen) == 2
    assert names_in(path) == [name for name in names if name != '3.png']


# What decides predictions, each by itself:
@pytest.mark.parametrize('what', ['weights', 'model', 'pipeline'])
def test_what_another_model_began_is_not_mixed_in(cfg, tmp_path, what):
    path = tmp_path / 'labels.json'
    interrupt(cfg, path)
    if what == 'model':
        cfg.model.detector.test_cfg.rcnn.score_thr = 0.4
    if what == 'pipeline':
        cfg.test_dataloader.dataset.pipeline[1].scale = (64, 64)
    again = Predictor(weight=1.0 if what == 'weights' else 0.0)
    label(cfg, path, again)
    assert len(again.seen) == 18


@pytest.mark.parametrize('min_score', [30, -0.1, float('nan')])
def test_a_score_out_of_its_range_is_refused(cfg, tmp_path, min_score):
    with pytest.raises(ValueError, match=rf'score_thr is {min_score}, but must be in \[0, 1\]'):
        label(cfg, tmp_path / 'labels.json', Predictor(), min_score=min_score)
    assert not (tmp_path / 'labels.json').exists()


@pytest.mark.parametrize('workers', [0, 1])
def test_broken_images_are_passed_over_and_told(cfg, tmp_path, capfd, workers):
    cfg.test_dataloader.num_workers = workers
    path = tmp_path / 'labels.json'
    folder = photos(tmp_path / 'a', [f'{i}.png' for i in range(6)])
    # One beside others in its batch of four, and a batch of broken ones alone.
    for name in ('1.png', '4.png', '5.png'):
        (folder / name).write_bytes(b'')
    (folder / 'gone.png').symlink_to('nowhere.png')
    use_folder(cfg, folder)
    assert label(cfg, path, Predictor()) == 3
    assert names_in(path) == ['0.png', '2.png', '3.png']
    told = capfd.readouterr().err
    for name in ('1.png', '4.png', '5.png'):
        assert f'skipped: {folder}/{name} is empty: 0 bytes' in told
    assert f'skipped: {folder}/gone.png leads nowhere; copy what it links to' in told
    assert 'skipped: 3 of 6 images that cannot be read' in told


def test_what_is_written_can_be_learnt_from(cfg, tmp_path):
    """Boxes beyond the image, of nothing and of no place; not every detector leaves them out."""

    class Wild(Predictor):
        def test_step(self, batch):
            predicted = super().test_step(batch)
            for sample in predicted:
                sample.pred_instances = InstanceData(
                    bboxes=torch.tensor(
                        [
                            [-5.0, 4, 40, 20],
                            [40, 4, 50, 20],
                            [4, 4, 4.001, 20],
                            [-torch.inf, 4, 8, 20],
                            [4, torch.nan, 8, 20],
                        ]
                    ),
                    scores=torch.full((5,), 0.9),
                    labels=torch.arange(5),
                )
            return predicted

    path = tmp_path / 'labels.json'
    use_folder(cfg, photos(tmp_path / 'a', ['1.png', '2.png']))
    label(cfg, path, Wild())
    content = json.loads(path.read_text())
    assert [a['bbox'] for a in content['annotations']] == [[0, 4, 32, 16]] * 2
    assert [a['category_id'] for a in content['annotations']] == [1, 1]
    assert len(StoredLabels(path, [str(digit) for digit in range(10)]).of('a/1.png')) == 1


def test_a_name_that_json_cannot_hold_is_passed_over_and_told(cfg, tmp_path, capfd):
    path, folder = tmp_path / 'labels.json', photos(tmp_path / 'a', ['1.png', '2.png'])
    shutil.copy(folder / '1.png', os.fsencode(folder) + b'/caf\xe9.png')
    use_folder(cfg, folder)
    assert label(cfg, path, Predictor()) == 2
    assert names_in(path) == ['1.png', '2.png']
    assert "'caf\\udce9.png': its name is not UTF-8; rename it" in capfd.readouterr().err
    labels = StoredLabels(path, [str(digit) for digit in range(10)])
    with pytest.raises(
        ValueError, match=r'no image .*xe9\.png; rename it, because its name is not'
    ):
        labels.of(f'{folder}/caf\udce9.png')


def test_without_a_test_images_are_prepared_as_for_validation(cfg, tmp_path):
    label(cfg, tmp_path / 'a.json', Predictor())
    cfg.val_dataloader = cfg.test_dataloader
    cfg.test_dataloader = None
    label(cfg, tmp_path / 'b.json', Predictor())
    assert (tmp_path / 'a.json').read_text() == (tmp_path / 'b.json').read_text()


def test_annotations_are_not_loaded(cfg, tmp_path):
    pipeline = cfg.test_dataloader.dataset.pipeline
    pipeline.insert(1, dict(type='mmdet.LoadAnnotations', with_bbox=True))
    use_folder(cfg, photos(tmp_path / 'a', ['0.png']))
    assert label(cfg, tmp_path / 'labels.json', Predictor()) == 1


def test_broken_images_alone_are_refused(cfg, tmp_path):
    (tmp_path / 'a').mkdir()
    (tmp_path / 'a/1.png').write_bytes(b'')
    use_folder(cfg, tmp_path / 'a')
    with pytest.raises(ValueError, match=r'none of the 1 images could be read: .*1\.png is empty'):
        label(cfg, tmp_path / 'labels.json', Predictor())
    assert os.listdir(tmp_path) == ['a']


def test_images_of_one_name_in_two_folders(cfg, tmp_path, monkeypatch):
    path = tmp_path / 'labels.json'
    two_folders(cfg, photos(tmp_path / 'a', ['1.png']), photos(tmp_path / 'b', ['1.png', '2.png']))
    assert label(cfg, path, Predictor()) == 3
    assert names_in(path) == ['a/1.png', 'b/1.png', 'b/2.png']
    found = StoredLabels(path, [str(digit) for digit in range(10)])
    assert len(found.of(str(tmp_path / 'b/1.png'))) == 1
    # However a folder is spelt.
    monkeypatch.chdir(tmp_path / 'b')
    assert len(found.of('1.png')) == len(found.of('../a/1.png')) == 1
    # One that lies within the other: each image once.
    two_folders(cfg, tmp_path / 'b', photos(tmp_path / 'b/new', ['1.png']))
    assert label(cfg, path, Predictor()) == 3
    assert names_in(path) == ['1.png', '2.png', 'new/1.png']


def test_a_new_image_does_not_get_the_boxes_of_another(cfg, tmp_path):
    path = tmp_path / 'labels.json'
    folder = photos(tmp_path / 'a', ['1.png', '2.png'])
    use_folder(cfg, folder)
    label(cfg, path, Predictor())
    photos(folder, ['new/1.png'])
    found = StoredLabels(path, [str(digit) for digit in range(10)])
    with pytest.raises(ValueError, match=r'labels\.json has no image .*a/new/1\.png; make the ps'):
        found.of(str(folder / 'new/1.png'))
    # Copied elsewhere they are found; others of the same names are not taken for them.
    shutil.copytree(folder, tmp_path / 'copy')
    assert len(found.of(str(tmp_path / 'copy/1.png'))) == 1
    other = photos(tmp_path / 'other', ['2.png'], grey=99)
    with (other / '2.png').open('ab') as file:
        file.write(b'longer')
    with pytest.raises(ValueError, match=r'has no image .*other/2\.png'):
        found.of(str(other / '2.png'))


def test_a_config_without_unlabelled_images_is_refused(cfg, tmp_path):
    datasets = cfg.train_dataloader.dataset.datasets
    cfg.train_dataloader.dataset.datasets = datasets[:1]
    with pytest.raises(ValueError, match='has no unlabelled images'):
        label(cfg, tmp_path / 'labels.json', Predictor())
