"""What a checkpoint says of images: lessons as the hook would give them."""

import dataclasses
import json

import pytest
import torch
from mmdet.registry import TASK_UTILS
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from PIL import Image

from ssod.checkpoints import load_checkpoint
from ssod.projection import project_boxes, view_to_view
from ssod.pseudo_labels.selectors import ScoreSelector, selector_state
from ssod.visualization.report.looks import Scored, TrainedModel
from ssod.visualization.report.state import read_run


def changed(folder, **teacher):
    """The run with other settings of its teacher."""
    run = read_run(folder)
    for name, value in teacher.items():
        run.cfg.default_hooks.teacher[name] = value
    return run


def test_the_selector_chooses_and_the_boxes_are_carried_over(trained):
    run = changed(trained, selector=dict(type='TopSelector', count=2), min_size=3.0)
    checkpoint = TrainedModel(run)
    assert (checkpoint.iteration, checkpoint.step, checkpoint.threshold) == (4, 2, None)
    lessons = list(checkpoint.lessons(3))
    assert len(lessons) == 3
    for lesson in lessons:
        best = lesson.found.scores.sort(descending=True).values[:2]
        assert lesson.found.scores[lesson.chosen].sort(descending=True).values.tolist() == (
            best.tolist()
        )
        matrix = view_to_view([lesson.weak.sample], [lesson.strong.sample])[0]
        shape = lesson.strong.sample.img_shape
        assert lesson.strong.image.shape == (*shape, 3)
        carried = project_boxes(lesson.found.bboxes[lesson.chosen], matrix, shape)
        carried = carried[(carried[:, 2:] - carried[:, :2] >= 3).all(dim=1)]
        assert torch.equal(lesson.pseudo.bboxes, carried)
        assert len(lesson.verdicts) == len(lesson.found)


def test_the_selector_is_as_far_as_the_training(trained, monkeypatch):
    steps = []

    def keep_all(self, predictions, step):
        steps.append(step)
        return predictions

    monkeypatch.setattr(ScoreSelector, '__call__', keep_all)
    next(TrainedModel(read_run(trained)).lessons(1))
    # Of four iterations the first two were the burn-in.
    assert steps == [2]


def test_the_selector_remembers_what_it_did_in_the_training(trained, tmp_path):
    settings = dict(type='MixtureSelector', num_classes=10)
    selector = TASK_UTILS.build(settings)
    selector._thresholds += 0.25
    content = load_checkpoint(read_run(trained).checkpoint)
    content['teacher']['selector'] = selector_state(selector)
    torch.save(content, tmp_path / 'iter_4.pth')
    run = dataclasses.replace(
        changed(trained, selector=settings), checkpoint=tmp_path / 'iter_4.pth'
    )
    assert torch.equal(TrainedModel(run).selector._thresholds, selector._thresholds)


def test_a_validation_image_is_drawn_in_its_own_colours(tmp_path):
    Image.new('RGB', (3, 2), (200, 100, 50)).save(tmp_path / 'a.png')
    scored = Scored(str(tmp_path / 'a.png'), InstanceData(), InstanceData(), [], None)
    assert (scored.image() == (200, 100, 50)).all()


def test_boxes_that_cannot_be_drawn_are_no_detections(trained, monkeypatch):
    nan, inf = float('nan'), float('inf')
    found = InstanceData(
        bboxes=torch.tensor([[nan] * 4, [0, 0, inf, 9], [9, 9, 5, 20], [1, 2, 30, 40]]),
        scores=torch.tensor([0.9, 0.8, 0.7, 0.6]),
        labels=torch.zeros(4, dtype=torch.long),
    )
    samples = [DetDataSample(pred_instances=found)]
    monkeypatch.setattr('ssod.visualization.report.looks.predict_each', lambda *_: samples)
    (image,) = TrainedModel(read_run(trained)).scored(1)
    assert image.found.scores.tolist() == pytest.approx([0.6])
    assert len(image.verdicts) == 1


def test_the_same_images_have_the_same_views(trained):
    first, second = (next(TrainedModel(read_run(trained)).lessons(1)) for _ in range(2))
    assert (first.strong.image == second.strong.image).all()
    assert torch.equal(first.found.bboxes, second.found.bboxes)


def test_stored_pseudo_labels_are_shown_as_they_are_stored(trained, odd_digits, tmp_path):
    content = json.loads((odd_digits / 'annotations/unlabeled.json').read_text())
    image = content['images'][0]
    box = {'id': 1, 'image_id': image['id'], 'category_id': 4, 'bbox': [10, 20, 30, 40]}
    content['annotations'] = [{**box, 'score': 0.75, 'area': 1200, 'iscrowd': 0}]
    path = tmp_path / 'stored.json'
    path.write_text(json.dumps(content))
    run = changed(trained, type='OfflineTeacherHook', ann_file=str(path))
    lesson = next(TrainedModel(run).lessons(1))
    assert lesson.found.bboxes.tolist() == [[10, 20, 40, 60]]
    assert lesson.found.labels.tolist() == [3]
    assert lesson.found.scores.tolist() == [0.75]


def test_a_model_without_a_teacher_says_so(trained):
    run = read_run(trained)
    run.cfg.default_hooks.pop('teacher')
    with pytest.raises(ValueError, match='The run has no teacher'):
        next(TrainedModel(run).lessons(1))


def test_a_checkpoint_of_another_model_is_named(trained):
    run = read_run(trained)
    run.cfg.model.detector.neck.out_channels = 32
    with pytest.raises(ValueError, match=r'iter_4\.pth is of another detector: size mismatch'):
        TrainedModel(run)


def test_the_names_of_the_classes(trained, tmp_path):
    content = load_checkpoint(read_run(trained).checkpoint)
    run = dataclasses.replace(read_run(trained), checkpoint=tmp_path / 'iter_4.pth')
    names = content['meta'].pop('dataset_meta')['classes']
    # As in mmdet 2.
    content['meta']['CLASSES'] = names
    torch.save(content, tmp_path / 'iter_4.pth')
    assert TrainedModel(run).classes == names
    for meta in ({'iter': 4}, 'by hand'):
        torch.save({**content, 'meta': meta}, tmp_path / 'iter_4.pth')
        with pytest.raises(ValueError, match=r'iter_4\.pth does not name its classes'):
            TrainedModel(run)


def test_before_the_first_checkpoint(trained):
    run = dataclasses.replace(read_run(trained), checkpoint=None)
    with pytest.raises(FileNotFoundError, match='There is no checkpoint yet'):
        TrainedModel(run)
