"""As many pseudo-boxes of each class as labelled ones."""

import copy
import json
from pathlib import Path

import pytest
import torch
from mmengine.structures import InstanceData

from ssod.pseudo_labels import FrequencySelector
from ssod.pseudo_labels.frequency import boxes_per_image


@pytest.fixture
def ann_file(tmp_path):
    """Two images, with four cats (one a crowd), one dog and no bird."""
    boxes = [dict(category_id=7)] * 3 + [dict(category_id=7, iscrowd=1)]
    boxes += [dict(category_id=7, ignore=1), dict(category_id=9)]
    content = dict(
        images=[dict(id=1), dict(id=2)],
        annotations=boxes,
        categories=[dict(id=i, name=n) for i, n in ((7, 'cat'), (9, 'dog'), (8, 'bird'))],
    )
    path = tmp_path / 'labeled.json'
    path.write_text(json.dumps(content))
    return str(path)


def predictions(scores, labels):
    return InstanceData(scores=torch.tensor(scores), labels=torch.tensor(labels).long())


def test_boxes_per_image(ann_file):
    # In the order of the file's categories, or as the classes are asked for.
    assert boxes_per_image(ann_file) == [1.5, 0.5, 0]
    assert boxes_per_image(ann_file, ['dog', 'cat']) == [0.5, 1.5]
    with pytest.raises(ValueError, match=r"labeled.json: no category is called 'cow'.*cat, dog"):
        boxes_per_image(ann_file, ['cow'])


def test_a_file_without_images_is_refused(tmp_path):
    path = tmp_path / 'x.json'
    path.write_text(json.dumps(dict(images=[], annotations=[], categories=[])))
    with pytest.raises(ValueError, match='no images to count'):
        boxes_per_image(str(path))


def test_nothing_is_found(ann_file):
    assert len(FrequencySelector(ann_file)(predictions([], []), 0)) == 0


def test_one_image(ann_file):
    # 1.5 cats are due: of two scores one is kept. No half dog, and no bird.
    chosen = FrequencySelector(ann_file)(predictions([0.9, 0.8, 0.9, 0.9], [0, 0, 1, 2]), 0)
    assert (chosen.scores.tolist(), chosen.labels.tolist()) == ([pytest.approx(0.9)], [0])
    # With twice as many due, both cats and the dog.
    chosen = FrequencySelector(ann_file, share=2)(predictions([0.9, 0.8, 0.9], [0, 0, 1]), 0)
    assert chosen.labels.tolist() == [0, 0, 1]


def test_in_the_long_run_each_class_has_its_share(ann_file):
    # In each image four cats and four dogs with any score: 1.5 and 0.5 are kept, unless the least
    # score says otherwise.
    generator = torch.Generator().manual_seed(0)
    selector = FrequencySelector(ann_file, least=0.0)
    counts = torch.zeros(2)
    for step in range(3000):
        scores = torch.rand(8, generator=generator)
        chosen = selector(predictions(scores.tolist(), [0, 1] * 4), step)
        if step >= 1000:
            counts += torch.bincount(chosen.labels, minlength=2)
    torch.testing.assert_close(counts / 2000, torch.tensor([1.5, 0.5]), atol=0.06, rtol=0)
    assert selector(predictions([0.99, 0.55], [0, 0]), 0).scores.tolist() == [pytest.approx(0.99)]


@pytest.mark.parametrize('low', [0.9, 0.999, 1.0])
def test_a_teacher_that_is_sure_of_everything(ann_file, low):
    # 1.8 cats are found for 1.5 that are due, and all scores are next to 1, or 1.
    generator = torch.Generator().manual_seed(0)
    selector = FrequencySelector(ann_file)
    kept = 0
    for step in range(3000):
        found = 2 if torch.rand((), generator=generator) < 0.8 else 1
        scores = low + (1 - low) * torch.rand(found, generator=generator)
        chosen = selector(predictions(scores.tolist(), [0] * found), step)
        kept += len(chosen) if step >= 1000 else 0
    # Where all are the same, all is nearer to what is due than none.
    assert kept / 2000 == pytest.approx(1.8 if low == 1.0 else 1.5, abs=0.06)


def test_averages_of_another_number_of_bins_are_not_taken_over(ann_file):
    selector = FrequencySelector(ann_file)
    selector.load_state_dict({'histograms': torch.ones(3, 7), 'images': 5.0})
    assert len(selector(predictions([0.9], [0]), 0)) == 1


def test_the_least_score(ann_file):
    selector = FrequencySelector(ann_file, share=10, least=0.4)
    assert selector(predictions([0.5, 0.3], [0, 0]), 0).scores.tolist() == [pytest.approx(0.5)]


def test_the_state_is_all_there_is(ann_file):
    one, other = FrequencySelector(ann_file), FrequencySelector(ann_file)
    for step in range(20):
        one(predictions([0.9, 0.8, 0.7], [0, 0, 1]), step)
    other.load_state_dict(copy.deepcopy(one.state_dict()))
    found = predictions([0.95, 0.85, 0.75, 0.65], [0, 0, 1, 1])
    assert one(found, 20).scores.tolist() == other(found, 20).scores.tolist()
    assert torch.equal(one.state_dict()['histograms'], other.state_dict()['histograms'])


@pytest.mark.parametrize('setting', [dict(share=0), dict(decay=1.0), dict(least=2.0)])
def test_settings_out_of_range_are_refused(setting):
    with pytest.raises(ValueError, match=f'FrequencySelector: {next(iter(setting))} is'):
        FrequencySelector('x.json', **setting)


@pytest.mark.parametrize('classes', [None, ['dog', 'cat']])
def test_classes_of_another_number_than_the_datas_are_refused(ann_file, classes):
    told = 'classes is 2' if classes else r'ann_file \S*labeled.json is 3'
    right, wrong = (2, 3) if classes else (3, 2)
    message = f'number of classes in {told}, but must be {wrong}; give classes the data set'
    selector = FrequencySelector(ann_file, classes)
    with pytest.raises(ValueError, match=message):
        selector.check(None, wrong)
    selector.check(None, right)
    assert len(selector(predictions([0.9], [1 if classes else 0]), 0)) == 1


def test_the_file_is_read_once(ann_file):
    selector = FrequencySelector(ann_file)
    selector.check(None, 3)
    Path(ann_file).unlink()
    assert len(selector(predictions([0.9], [0]), 0)) == 1
