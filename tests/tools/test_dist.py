"""Training and testing with two ranks on the CPU."""

import json
import time
from pathlib import Path

import pytest
import torch

from ssod.checkpoints import load_checkpoint

ROOT = Path(__file__).parents[2]

# The main example with few scenes: twelve labelled ones, of which each step of a rank draws one.
CONFIG = f"""
_base_ = '{ROOT}/configs/mt_fasterrcnn_digits10pct.py'
custom_imports = dict(imports=['ssod', 'witness'])
custom_hooks = [dict(type='Witness')]
scenes = dict(train_images=40, val_images=3, labeled_fraction=0.3)
labeled, unlabeled = _base_.labeled, _base_.unlabeled
labeled.scenes = unlabeled.scenes = scenes
train_dataloader = dict(
    batch_size=4,
    num_workers=0,
    persistent_workers=False,
    dataset=dict(datasets=[labeled, unlabeled]),
)
val_dataloader = dict(batch_size=1, dataset=dict(scenes=scenes))
test_dataloader = val_dataloader
train_cfg = dict(max_iters=3, val_interval=3)
model = dict(detector=dict(test_cfg=dict(rcnn=dict(score_thr=0.01))))
default_hooks = dict(
    teacher=dict(burn_in=1, selector=dict(threshold=0.0)), checkpoint=dict(interval=3)
)
"""

# Images of one size (so that no padding differs) and an optimizer that does not magnify rounding;
# the model is to follow, with frozen batch norms.
EQUAL = f"""
_base_ = '{ROOT}/configs/mt_fasterrcnn_digits10pct.py'
scenes = dict(train_images=40, val_images=3, labeled_fraction=0.3)
labeled, unlabeled = _base_.labeled, _base_.unlabeled
labeled.scenes = unlabeled.scenes = scenes
change = dict(type='PhotoMetricDistortion')
labeled.pipeline[-1] = dict(type='LabeledView', transforms=[change])
move = dict(type='TranslateX', prob=0.5, max_mag=0.1)
unlabeled.pipeline[-1] = dict(type='TwoViews', strong=[move, change])
train_dataloader = dict(
    num_workers=0,
    persistent_workers=False,
    dataset=dict(datasets=[labeled, unlabeled]),
)
val_dataloader = val_cfg = val_evaluator = None
test_dataloader = test_cfg = test_evaluator = None
train_cfg = dict(max_iters=3)
param_scheduler = [dict(type='ConstantLR', factor=1.0, by_epoch=False)]
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='SGD', lr=0.02, momentum=0.9), clip_grad=dict(max_norm=1)
)
default_hooks = dict(
    teacher=dict(burn_in=1, decay=dict(_delete_=True, type='constant', value=0.9)),
    checkpoint=dict(interval=3),
)
default_hooks['teacher']['selector'] = dict(_delete_=True, type='OneBox')
custom_imports = dict(imports=['ssod', 'mishap'])
"""

# Normalizes its losses over all ranks.
FCOS = """
head = dict(
    type='FCOSHead',
    num_classes=10,
    in_channels=64,
    stacked_convs=1,
    feat_channels=64,
    strides=[8, 16, 32],
    regress_ranges=((-1, 24), (24, 48), (48, 1e8)),
    norm_cfg=dict(type='GN', num_groups=8, requires_grad=True),
)
model = dict(
    detector=dict(
        _delete_=True,
        type='FCOS',
        backbone=dict(_base_.model.detector.backbone, norm_eval=True),
        neck=_base_.model.detector.neck,
        bbox_head=head,
        test_cfg=dict(nms_pre=100, score_thr=0.0, nms=dict(type='nms', iou_threshold=0.5)),
    ),
)
model['detector']['test_cfg']['max_per_img'] = 5
"""

# Chooses regions at random; of each image as many as it may, so that all ranks have as many. Its
# verifier learns on rank 0.
FASTER_RCNN = """
small = dict(sampler=dict(num=16))
model = dict(
    consistency=dict(_delete_=True, kind='kl', num_regions=16),
    verifier=dict(),
    detector=dict(
        backbone=dict(norm_eval=True),
        train_cfg=dict(rpn=small, rcnn=small),
    ),
)
"""

# A selector whose choice no rounding can change, and a hook that stops one of two ranks.
MISHAP = """
from mmdet.registry import HOOKS, TASK_UTILS
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.structures import InstanceData

from ssod.pseudo_labels import Selector


@TASK_UTILS.register_module()
class OneBox(Selector):
    def __call__(self, predictions, step):
        boxes = predictions.bboxes.new_tensor([[20, 20, 60, 60]])
        labels, scores = predictions.labels.new_tensor([3]), boxes.new_ones(1)
        return InstanceData(bboxes=boxes, labels=labels, scores=scores)


@HOOKS.register_module()
class Mishap(Hook):
    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if get_rank() == 1 and runner.iter == 1:
            open('mishap', 'w').close()
            raise RuntimeError('rank 1 met with a mishap')
"""

# Leaves behind what each rank has seen. On rank 1 no box is ever good enough, and in the end it has
# no labelled boxes either.
WITNESS = """
import torch
from mmdet.registry import HOOKS
from mmengine.dist import get_rank
from mmengine.hooks import Hook

from ssod.schedules import constant
from ssod.teachers import TeacherHook
from ssod.models.semi_supervised_detector import unwrap


@HOOKS.register_module()
class Witness(Hook):
    priority = 'LOWEST'

    def before_train(self, runner):
        self.labeled, self.boxes, self.pseudo, self.losses = [], [], [], []
        if get_rank() == 1:
            (teacher,) = [h for h in runner.hooks if isinstance(h, TeacherHook)]
            teacher.selector.threshold = constant(1.1)

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        samples = data_batch['data_samples']
        labeled = [s for s in samples['labeled'] if s is not None]
        if get_rank() == 1 and runner.iter == 2:
            for sample in labeled:
                sample.gt_instances = sample.gt_instances[:0]
        self.labeled += [s.img_id for s in labeled]
        self.boxes.append(sum(len(s.gt_instances) for s in labeled))
        self.pseudo.append(sum(len(s.gt_instances) for s in samples.get('strong', [])))

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.losses.append(float(outputs['loss']))

    def after_train(self, runner):
        model = unwrap(runner.model)
        seen = dict(student=model.student.state_dict(), teacher=model.teacher.state_dict())
        seen.update(labeled=self.labeled, boxes=self.boxes)
        seen.update(pseudo=self.pseudo, losses=self.losses)
        torch.save(seen, f'rank{get_rank()}.pth')
"""


@pytest.fixture(scope='module')
def trained(bench):
    """The directory of a run of three iterations with two ranks."""
    (bench.place / 'two_ranks.py').write_text(CONFIG)
    (bench.place / 'witness.py').write_text(WITNESS)
    script = ROOT / 'tools/dist_train.sh'
    bench.run(script, 'two_ranks.py', 2, log='train.txt')
    return bench


@pytest.fixture(scope='module')
def ranks(trained):
    """What each rank has seen."""
    files = [trained.place / f'rank{rank}.pth' for rank in (0, 1)]
    return [torch.load(file, weights_only=True) for file in files]


def test_the_ranks_see_different_images(ranks):
    one, two = (rank['labeled'] for rank in ranks)
    assert len({*one, *two}) == len(one) + len(two) == 6


def test_a_rank_without_boxes_trains_with_one_that_has_some(ranks):
    # Trap: a loss that vanishes on one rank alone leaves the other waiting for its gradients.
    one, two = (rank['pseudo'] for rank in ranks)
    assert one[0] == 0, 'burn-in'
    assert min(one[1:]) > 0
    assert two == [0, 0, 0]
    one, two = (rank['boxes'] for rank in ranks)
    assert min(one) > 0
    assert (min(two[:2]) > 0, two[2]) == (True, 0)
    losses = torch.tensor([rank['losses'] for rank in ranks])
    assert losses.shape == (2, 3)
    assert losses.isfinite().all()
    assert (losses[0] != losses[1]).all()


@pytest.mark.parametrize('who', ['student', 'teacher'])
def test_the_ranks_hold_the_same_weights(ranks, who):
    # Running statistics too, though each rank's batch norms measure its own images.
    one, two = (rank[who] for rank in ranks)
    assert one.keys() == two.keys()
    assert [name for name in one if not torch.equal(one[name], two[name])] == []


def test_the_teacher_is_not_the_student(ranks):
    # Or else it would be no wonder that both are the same on all ranks.
    student, teacher = ranks[0]['student'], ranks[0]['teacher']
    for name in ('roi_head.bbox_head.fc_cls.weight', 'backbone.bn1.running_mean'):
        assert not torch.equal(student[name], teacher[name]), name


@pytest.mark.parametrize(
    ('model', 'head'),
    [(FCOS, 'bbox_head.conv_cls'), (FASTER_RCNN, 'roi_head.bbox_head.fc_cls')],
    ids=['fcos', 'faster_rcnn'],
)
def test_two_ranks_are_one_process_with_twice_the_batch(bench, model, head):
    (bench.place / 'equal.py').write_text(EQUAL + model)
    (bench.place / 'mishap.py').write_text(MISHAP)
    options = ['--cfg-options', 'train_dataloader.batch_size=8']
    one = [ROOT / 'tools/train.py', 'equal.py', '--work-dir', f'{head}/one']
    bench.python(*one, *options, log='one_process.txt')
    options = ['--work-dir', f'{head}/two', '--cfg-options', 'train_dataloader.batch_size=4']
    script = ROOT / 'tools/dist_train.sh'
    bench.run(script, 'equal.py', 2, *options, log='two_ranks.txt')
    found = [load_checkpoint(bench.place / head / f'{n}/iter_3.pth') for n in ('one', 'two')]
    one, two = (checkpoint['state_dict'] for checkpoint in found)
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, rtol=1e-5, atol=1e-6, msg=name)
    # Three steps went far beyond that, with pseudo-boxes in the last two.
    student, teacher = (one[f'{who}.{head}.weight'] for who in ('student', 'teacher'))
    assert (student - teacher).abs().max() > 1e-4
    hubs = [checkpoint['message_hub']['log_scalars'] for checkpoint in found]
    assert hubs[0]['train/pseudo_loss_cls'].data[0].tolist() != []


def test_a_rank_that_dies_ends_the_run_with_its_own_error(bench):
    (bench.place / 'mishap.py').write_text(MISHAP)
    (bench.place / 'dies.py').write_text(EQUAL + FCOS + "custom_hooks = [dict(type='Mishap')]\n")
    options = ['--cfg-options', 'train_dataloader.batch_size=4', 'train_cfg.max_iters=100000']
    script = ROOT / 'tools/dist_train.sh'
    process = bench.start(script, 'dies.py', 2, *options, log='dies.txt')
    deadline = time.monotonic() + 120
    while not (bench.place / 'mishap').exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.1)
    assert process.wait(timeout=60) != 0
    assert 'RuntimeError: rank 1 met with a mishap' in (bench.place / 'dies.txt').read_text()


def bbox_scores(row):
    return {key: value for key, value in row.items() if 'teacher/coco/bbox_mAP' in key}


def test_one_rank_and_two_score_as_the_validation_did(trained):
    # Of three images one rank has two; the other one's second is a copy, which must not count.
    checkpoint = 'work_dirs/two_ranks/iter_3.pth'
    commands = {
        'one': (trained.python, ROOT / 'tools/test.py', 'two_ranks.py', checkpoint),
        'two': (trained.run, ROOT / 'tools/dist_test.sh', 'two_ranks.py', checkpoint, 2),
    }
    scores, boxes = {}, {}
    for name, (run, *command) in commands.items():
        options = ['--cfg-options', f'test_evaluator.outfile_prefix={name}']
        place = ['--work-dir', f'tested/{name}']
        run(*command, *place, *options, log=f'{name}.txt')
        (file,) = (trained.place / 'tested' / name).glob('*/*.json')
        scores[name] = bbox_scores(json.loads(file.read_text()))
        boxes[name] = json.loads((trained.place / f'{name}.bbox.json').read_text())
    (log,) = (trained.place / 'work_dirs/two_ranks').glob('*/vis_data/scalars.json')
    rows = [bbox_scores(json.loads(line)) for line in log.read_text().splitlines()]
    assert len(scores['one']) == 6
    assert scores['one'] == scores['two'] == [row for row in rows if row][-1]
    # So early the scores are near 0; that the boxes are the same says more.
    assert boxes['one'] == boxes['two']
    assert {box['image_id'] for box in boxes['one']} == {1, 2, 3}
