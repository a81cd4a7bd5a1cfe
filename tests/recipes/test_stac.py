"""STAC: a student of stored labels."""

import json
from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner

from ssod.projection import project_boxes, view_to_view

BOX = [30.0, 30.0, 30.0, 20.0]


class Lessons(Hook):
    priority = 'LOWEST'

    def __init__(self):
        self.seen = []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.seen += data_batch['data_samples']['strong']


@pytest.fixture
def stac_cfg(digits_cfg, digits):
    """Each unlabelled image has one certain box and one that is not."""
    images = json.loads((digits / 'annotations/unlabeled.json').read_text())['images']
    boxes = [(i['id'], category, s) for i in images for category, s in ((4, 0.9), (5, 0.2))]
    annotations = [
        dict(id=n, image_id=image, category_id=category, bbox=BOX, area=600.0, score=score)
        for n, (image, category, score) in enumerate(boxes)
    ]
    categories = [dict(id=digit + 1, name=str(digit)) for digit in range(10)]
    content = dict(images=images, annotations=annotations, categories=categories)
    path = Path(digits_cfg.work_dir, 'pseudo_labels.json')
    path.parent.mkdir()
    path.write_text(json.dumps(content))
    selector = dict(type='ScoreSelector', threshold=0.5)
    digits_cfg.default_hooks.teacher = dict(type='OfflineTeacherHook', selector=selector)
    return digits_cfg


def test_the_student_learns_the_stored_labels(stac_cfg):
    runner = Runner.from_cfg(stac_cfg)
    lessons = Lessons()
    runner.register_hook(lessons)
    asked = []
    runner.model.teacher.register_forward_pre_hook(lambda *_: asked.append(1))
    runner.train()
    assert len(lessons.seen) == 6
    box = torch.tensor([[30.0, 30, 60, 50]])
    for sample in lessons.seen:
        matrix = view_to_view([type(sample)()], [sample])[0]
        wanted = project_boxes(box, matrix, sample.img_shape)
        torch.testing.assert_close(sample.gt_instances.bboxes, wanted)
        assert sample.gt_instances.labels.tolist() == [3]
    assert asked == [], 'the model that is called teacher has nothing to say'
    state = runner.model.state_dict()
    student = {k: v for k, v in state.items() if k.startswith('student.')}
    assert all(torch.equal(state[k.replace('student.', 'teacher.')], v) for k, v in student.items())


def test_a_missing_file_is_told_with_the_command(stac_cfg):
    Path(stac_cfg.work_dir, 'pseudo_labels.json').unlink()
    with pytest.raises(FileNotFoundError, match=r'tools/pseudo_label\.py .*\.py CHECKPOINT --out'):
        Runner.from_cfg(stac_cfg).train()


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(consistency={}), 'consistency loss needs a teacher, .*; set model.consistency=None'),
        (dict(box_jitter={}), 'box_jitter needs a teacher, .*; set model.box_jitter=None, and use'),
        (
            dict(type='SoftTeacherDetector'),
            'loss of SoftTeacherDetector needs a teacher, .*; use SemiSupervisedDetector',
        ),
    ],
)
def test_a_model_that_asks_a_teacher_is_refused(stac_cfg, changes, message):
    stac_cfg.model.update(changes)
    with pytest.raises(ValueError, match=message):
        Runner.from_cfg(stac_cfg).train()
