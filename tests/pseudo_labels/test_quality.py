"""Precision and recall against the hidden truth, counted by hand."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.logging import MessageHub
from mmengine.structures import InstanceData

from ssod.data.sources import ImageSources
from ssod.pseudo_labels import quality
from ssod.pseudo_labels.quality import PseudoLabelQualityHook

A, C = [0.0, 0, 10, 10], [50.0, 50, 60, 60]


class FakeRunner:
    """What the hook asks of a runner."""

    iter = 0

    def __init__(self, name):
        self.message_hub = MessageHub.get_instance(name)
        dataset = type('Dataset', (), {'metainfo': {'classes': ('cat', 'dog')}})
        self.train_dataloader = type('Loader', (), {'dataset': dataset})


def strong(number, boxes, labels, matrix, scores=None):
    # Ids are those of the unlabelled images' own file.
    meta = {'img_id': 10 - number, 'img_path': f'data/{number}.png', 'img_shape': (100, 100)}
    sample = DetDataSample(metainfo={**meta, 'homography_matrix': np.array(matrix)})
    sample.gt_instances = InstanceData(
        bboxes=torch.tensor(boxes).float().reshape(-1, 4),
        labels=torch.tensor(labels).long(),
        scores=torch.full((len(labels),), 0.9) if scores is None else torch.tensor(scores),
    )
    return sample


@pytest.mark.parametrize(
    ('part', 'wrong', 'told'),
    [
        ('annotations', {'bbox': []}, r"truth\.json: 'bbox' of annotations\[0\] \(id 1\) is \[\]"),
        (
            'annotations',
            {'image_id': '1'},
            'is of image .1., which does not exist; write all ids as n',
        ),
        ('categories', {'name': 'Cat'}, None),
    ],
)
def test_a_wrong_truth_is_refused_before_the_first_iteration(truth_file, part, wrong, told):
    content = json.loads(Path(truth_file).read_text())
    content[part][0].update(wrong)
    Path(truth_file).write_text(json.dumps(content))
    hook, runner = PseudoLabelQualityHook(truth_file), FakeRunner(f'wrong_{part}_{len(wrong)}')
    if told is None:
        hook.before_train(runner)  # The dog is left.
        content['categories'][1]['name'] = 'Dog'
        Path(truth_file).write_text(json.dumps(content))
        told = 'has no box of the classes cat, dog, only of Cat, Dog; give the truth of these cl'
    with pytest.raises(ValueError, match=told):
        hook.before_train(runner)


DOUBLE = [[2.0, 0, 0], [0, 2, 0], [0, 0, 1]]
SAME = [[1.0, 0, 0], [0, 1, 0], [0, 0, 1]]


def test_logged_figures(truth_file):
    hook, runner = PseudoLabelQualityHook(truth_file, window=2), FakeRunner('logged_figures')
    hook.before_train(runner)

    def step(*samples):
        hook.before_train_iter(runner, 0, {'data_samples': {'strong': list(samples)}})
        return {
            key: runner.message_hub.get_scalar(f'train/pseudo_{key}').current()
            for key in ('boxes', 'precision', 'recall')
        }

    # Twice the size: the cat is at (0, 0, 20, 20), the dog outside the view; one box is wrong.
    first = step(strong(1, [[0, 0, 20, 20], [40, 40, 60, 60]], [0, 0], DOUBLE))
    assert first == {'boxes': 2, 'precision': 0.5, 'recall': 1.0}
    # The window takes both steps together: 2 of 3 boxes are right, 2 of 2 truths found.
    second = step(strong(2, [[20, 20, 30, 30]], [1], SAME))
    assert second == pytest.approx({'boxes': 1.5, 'precision': 2 / 3, 'recall': 1.0})
    # Nothing found: the first step leaves the window; 1 of 1 box is right, 1 of 3 truths found.
    third = step(strong(1, [], [], SAME))
    assert third == pytest.approx({'boxes': 0.5, 'precision': 1.0, 'recall': 1 / 3})
    # A burn-in step has no strong view and changes nothing.
    assert step() == third


def test_images_that_the_truth_does_not_know_say_nothing(truth_file):
    hook, runner = PseudoLabelQualityHook(truth_file), FakeRunner('unknown')
    hook.before_train(runner)
    unknown = strong(3, [[0, 0, 10, 10]], [0], SAME)
    hook.before_train_iter(runner, 0, {'data_samples': {'strong': [unknown]}})
    assert runner.message_hub.get_scalar('train/pseudo_boxes').current() == 1
    assert 'train/pseudo_precision' not in runner.message_hub.log_scalars
    known = strong(1, [[0, 0, 10, 10]], [0], SAME)
    hook.before_train_iter(runner, 1, {'data_samples': {'strong': [known, unknown]}})
    assert runner.message_hub.get_scalar('train/pseudo_precision').current() == 1
    assert runner.message_hub.get_scalar('train/pseudo_recall').current() == 0.5


@pytest.fixture
def folder(tmp_path, truth_file):
    """Two images of a folder within a folder, one of them named in the truth with the inner one."""
    content = json.loads(Path(truth_file).read_text())
    for image in content['images']:
        image['file_name'] = f'./sub/{image["file_name"]}'
    Path(truth_file).write_text(json.dumps(content))
    for name in ('sub/2.png', 'sub/3.png'):
        path = tmp_path / 'photos' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path / 'photos'


def run_on(*roots):
    views = dict(type='TwoViews', weak=[], strong=[])
    metainfo = dict(classes=('cat', 'dog'))
    sources = [
        dict(type='UnlabeledFolder', data_root=str(root), metainfo=metainfo, pipeline=[views])
        for root in roots
    ]
    runner = FakeRunner(str(roots))
    runner.train_dataloader.dataset = ImageSources(sources)
    return runner


def test_images_of_a_folder_are_found_by_their_paths(folder, truth_file, monkeypatch):
    monkeypatch.chdir(folder / 'sub')
    for root in (folder, Path()):
        hook, runner = PseudoLabelQualityHook(truth_file), run_on(root)
        hook.before_train(runner)
        sample = strong(2, [[20, 20, 30, 30]], [1], SAME)
        sample.set_metainfo({'img_path': next(runner.train_dataloader.dataset.unlabeled_paths())})
        hook.before_train_iter(runner, 0, {'data_samples': {'strong': [sample]}})
        assert runner.message_hub.get_scalar('train/pseudo_recall').current() == 1


def test_a_truth_of_other_images_is_refused_before_training(folder, truth_file):
    (folder / 'sub/2.png').unlink()
    message = r"truth\.json: has none of .*sub/3\.png nor .* a file_name such as 'sub/1\.png'; give"
    with pytest.raises(ValueError, match=message):
        PseudoLabelQualityHook(truth_file).before_train(run_on(folder))


def test_a_name_of_several_images_is_refused_before_training(folder, truth_file):
    # The same file twice is one image.
    PseudoLabelQualityHook(truth_file).before_train(run_on(folder, folder / 'sub/..'))
    other = folder / 'more/sub/2.png'
    other.parent.mkdir(parents=True)
    other.touch()
    message = r"image 'sub/2\.png' could be .*more/sub/2\.png or .*; put more of the path into"
    with pytest.raises(ValueError, match=message):
        PseudoLabelQualityHook(truth_file).before_train(run_on(folder))


@pytest.mark.parametrize('flag', ['iscrowd', 'ignore'])
def test_a_box_in_a_crowd_of_its_class_is_not_wrong(truth_file, flag):
    content = json.loads(Path(truth_file).read_text())
    content['annotations'][1][flag] = 1
    Path(truth_file).write_text(json.dumps(content))
    hook, runner = PseudoLabelQualityHook(truth_file), FakeRunner(f'crowd_{flag}')
    hook.before_train(runner)
    boxes = [[0, 0, 10, 10], [80, 80, 90, 90]]
    for labels, precision in (([0, 1], 1.0), ([0, 0], 2 / 3)):
        batch = {'data_samples': {'strong': [strong(1, boxes, labels, SAME)]}}
        hook.before_train_iter(runner, 0, batch)
        told = runner.message_hub.get_scalar('train/pseudo_precision').current()
        assert told == pytest.approx(precision)


@pytest.mark.parametrize(
    ('scores', 'right'),
    [
        # The first box takes the cat that the second one fits better, which then finds it twice.
        ([0.9, 0.5], 1),
        # The other way round, the other cat is left to the first box.
        ([0.5, 0.9], 2),
    ],
)
def test_boxes_are_judged_in_order_of_score_as_in_the_report(truth_file, scores, right):
    content = json.loads(Path(truth_file).read_text())
    content['images'][1].update(width=200)
    boxes = ([0, 0, 100, 100], [45, 0, 100, 100])
    content['annotations'] = [
        {'id': i, 'image_id': 2, 'category_id': 7, 'bbox': box, 'area': 10**4, 'iscrowd': 0}
        for i, box in enumerate(boxes)
    ]
    Path(truth_file).write_text(json.dumps(content))
    hook, runner = PseudoLabelQualityHook(truth_file), FakeRunner(f'order_{right}')
    hook.before_train(runner)
    # The first box overlaps the cats with 0.64 and 0.63, the second one with 1 and 0.38.
    view = strong(2, [[22, 0, 122, 100], [0, 0, 100, 100]], [0, 0], SAME, scores)
    view.set_metainfo({'img_shape': (100, 200)})
    hook.before_train_iter(runner, 0, {'data_samples': {'strong': [view]}})
    for figure in ('precision', 'recall'):
        told = runner.message_hub.get_scalar(f'train/pseudo_{figure}').current()
        assert told == right / 2


def test_a_gpu_is_waited_for_twice_whatever_the_number_of_views(truth_file, monkeypatch):
    hook, runner = PseudoLabelQualityHook(truth_file), FakeRunner('waits')
    hook.before_train(runner)
    waits, fetch = [], torch.Tensor.cpu
    monkeypatch.setattr(torch.Tensor, 'cpu', lambda values: waits.append(1) or fetch(values))
    views = [strong(number, [A, C], [0, 1], SAME) for number in (1, 2, 3)]
    hook.before_train_iter(runner, 0, {'data_samples': {'strong': views}})
    assert len(waits) == 2


def test_a_window_without_an_iteration_is_refused():
    # It would fail in the first step that is taught.
    with pytest.raises(ValueError, match='PseudoLabelQualityHook: window is 0, but must be at le'):
        PseudoLabelQualityHook(window=0)


def test_no_pseudo_box_at_all(truth_file):
    hook, runner = PseudoLabelQualityHook(truth_file), FakeRunner('none_at_all')
    hook.before_train(runner)
    hook.before_train_iter(runner, 0, {'data_samples': {'strong': [strong(1, [], [], SAME)]}})
    assert runner.message_hub.get_scalar('train/pseudo_precision').current() == 0
    assert runner.message_hub.get_scalar('train/pseudo_recall').current() == 0


def test_without_a_truth_boxes_are_counted():
    hook, runner = PseudoLabelQualityHook(), FakeRunner('without_truth')
    hook.before_train(runner)
    samples = [strong(1, [A, C], [0, 1], SAME), strong(2, [], [], SAME)]
    hook.before_train_iter(runner, 0, {'data_samples': {'strong': samples}})
    assert runner.message_hub.get_scalar('train/pseudo_boxes').current() == 1
    assert 'train/pseudo_precision' not in runner.message_hub.log_scalars


def test_a_missing_file_is_named(tmp_path):
    hook = PseudoLabelQualityHook(str(tmp_path / 'gone.json'))
    with pytest.raises(FileNotFoundError, match=r'gone\.json does not exist'):
        hook.before_train(FakeRunner('missing_file'))


def test_the_window_goes_on_after_a_resumption(tmp_path, truth_file):
    # Counts as plain values, which a checkpoint can be read back with without executing anything.
    first, runner = PseudoLabelQualityHook(truth_file), FakeRunner('before_the_kill')
    first.before_train(runner)
    first.before_train_iter(
        runner, 0, {'data_samples': {'strong': [strong(1, [A, C], [0, 1], SAME)]}}
    )
    checkpoint = {}
    first.before_save_checkpoint(runner, checkpoint)
    torch.save(checkpoint, tmp_path / 'iter_1.pth')
    checkpoint = torch.load(tmp_path / 'iter_1.pth', weights_only=True)

    for iteration, boxes in ((1, 1.5), (0, 1.0)):
        # A run that only starts from its weights begins a window of its own.
        second, runner = PseudoLabelQualityHook(truth_file), FakeRunner(f'resumed_at_{iteration}')
        runner.iter = iteration
        second.after_load_checkpoint(runner, checkpoint)
        second.before_train(runner)
        second.before_train_iter(
            runner, 1, {'data_samples': {'strong': [strong(1, [A], [0], SAME)]}}
        )
        assert runner.message_hub.get_scalar('train/pseudo_boxes').current() == boxes


def test_reading_the_truth_is_told(truth_file, monkeypatch):
    # A hundred thousand images take ten seconds.
    told = []
    monkeypatch.setattr(quality, 'print_log', lambda line, *_: told.append(line))
    PseudoLabelQualityHook(truth_file).before_train(FakeRunner('told'))
    PseudoLabelQualityHook().before_train(FakeRunner('nothing_to_tell'))
    assert told == [f'reading the hidden truth {truth_file}']
