"""The watch in real runs that go wrong, each in its own way, and in one that does not."""

import copy
import json
import re
from pathlib import Path

import pytest
import torch
from mmdet.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmengine.structures import InstanceData
from pycocotools.coco import COCO

from ssod.models import SemiSupervisedDetector
from ssod.teachers import EMATeacherHook, TeacherWatchHook


@pytest.fixture
def watched_cfg(digits_cfg):
    """A run of one window of ten iterations that saves nothing before its end."""
    digits_cfg.default_hooks.watch.window = 10
    digits_cfg.default_hooks.checkpoint.interval = 100
    digits_cfg.train_cfg.max_iters = 10
    digits_cfg.model.detector.backbone.norm_eval = False
    return digits_cfg


def train(cfg, *hooks, **options):
    cfg.merge_from_dict(options)
    runner = Runner.from_cfg(cfg)
    for hook in hooks:
        runner.register_hook(hook)
    runner.train()
    return runner


def said(cfg):
    """The watch's lines in the log: level, alarm, text."""
    logs = sorted(Path(cfg.work_dir).glob('*/*.log'))
    text = ''.join(path.read_text() for path in logs)
    return re.findall(r' (WARNING|INFO) - watch, (\w+): (.*)', text)


def warned(cfg):
    return [alarm for level, alarm, _ in said(cfg) if level == 'WARNING']


def scalars(cfg, prefix):
    """The run's scalars whose names begin so, in order."""
    logs = sorted(Path(cfg.work_dir).glob('*/vis_data/scalars.json'))
    records = [json.loads(line) for path in logs for line in path.read_text().splitlines()]
    found = [{k: v for k, v in r.items() if k.startswith((prefix, 'step'))} for r in records]
    return [record for record in found if len(record) > 1]


class Truth(Hook):
    """Makes the teacher predict the hidden truth, as a good one would."""

    def __init__(self, file):
        self.truth = COCO(file)
        self.labels = {id_: label for label, id_ in enumerate(self.truth.getCatIds())}

    def before_train(self, runner):
        runner.model.teach = self.teach

    def teach(self, weak):
        predictions = []
        for sample in weak['data_samples']:
            found = self.truth.imgToAnns[sample.img_id]
            boxes = torch.tensor([a['bbox'] for a in found]).reshape(-1, 4)
            boxes[:, 2:] += boxes[:, :2]
            labels = torch.tensor([self.labels[a['category_id']] for a in found]).long()
            scores = torch.linspace(0.7, 1, len(found))
            predictions.append(InstanceData(bboxes=boxes, labels=labels, scores=scores))
        return predictions, None


def test_a_healthy_run(watched_cfg):
    # The labels of two images say little of the others: here all eighteen are labelled too.
    truth = 'annotations/unlabeled_truth.json'
    watched_cfg.train_dataloader.dataset.datasets[0].ann_file = truth
    hook = Truth(watched_cfg.default_hooks.quality.ann_file)
    runner = train(watched_cfg, hook, **{'train_cfg.max_iters': 20})
    assert said(watched_cfg) == []
    assert scalars(watched_cfg, 'alarm/') == []
    figures = scalars(watched_cfg, 'watch/')
    assert [record['step'] for record in figures] == [10, 20]
    for record in figures:
        assert record['watch/images'] > 0.9
        assert 0.7 < record['watch/boxes'] < 1.3
        assert record['watch/classes'] < 0.3
        assert record['watch/scores'] == pytest.approx(0.85, abs=0.05)
        assert record['watch/distance'] < 0.5
        assert record['watch/skipped'] == 0
    # The same is in the message hub, and a line of the log got one short word longer.
    hub = runner.message_hub
    assert hub.get_scalar('watch/images').current() == figures[-1]['watch/images']
    assert {line['alarms'] for line in scalars(watched_cfg, 'alarms')} == {0}
    lines = Path(watched_cfg.work_dir).glob('*/*.log')
    assert not any('watch/' in path.read_text() for path in lines)


def test_a_threshold_that_is_too_high(watched_cfg):
    # The alarm is said once, though two windows see it, and stands in every line from then on.
    train(
        watched_cfg,
        **{'default_hooks.teacher.selector.threshold': 0.99, 'train_cfg.max_iters': 20},
    )
    assert said(watched_cfg) == [
        (
            'WARNING',
            'images',
            'no pseudo-boxes on 100% of the unlabelled images (no boxes on 0% of the labelled '
            "ones), over 10 iterations: lower the selector's threshold (0.99) or lengthen "
            'burn_in (0)',
        )
    ]
    assert scalars(watched_cfg, 'alarm/') == [{'alarm/images': 1.0, 'step': 10}]
    counts = [record['alarms'] for record in scalars(watched_cfg, 'alarms')]
    assert counts == [0] * 9 + [1] * 11


class Unaskable(Hook):
    """Comes right before the watch and replaces the losses, which lie on a GPU."""

    priority = 54

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        outputs.update((name, None) for name in outputs if 'loss' in name)


def test_losses_are_fetched_once(watched_cfg):
    """Another time a GPU would be waited for, which is updating the teacher."""
    train(watched_cfg, Unaskable())
    assert warned(watched_cfg) == []


def test_losses_that_nobody_logs(watched_cfg):
    watched_cfg.default_hooks.logger = watched_cfg.default_hooks.runtime_info = None
    runner = train(watched_cfg)
    assert 'train/loss' not in runner.message_hub.log_scalars
    assert runner.message_hub.get_scalar('train/alarms').current() == 0


def test_the_burn_in_has_no_alarm(watched_cfg):
    train(
        watched_cfg,
        **{
            'default_hooks.teacher.selector.threshold': 0.99,
            'default_hooks.teacher.burn_in': 3,
            'train_cfg.max_iters': 12,
        },
    )
    assert said(watched_cfg) == []
    assert scalars(watched_cfg, 'watch/') == []


def test_a_pseudo_weight_that_is_far_too_large(watched_cfg):
    train(watched_cfg, **{'model.pseudo_weight': 1e4})
    (line,) = [text for _, alarm, text in said(watched_cfg) if alarm == 'pseudo_loss']
    assert re.match(r'the pseudo losses are \d{4,} times the supervised ones', line)
    assert line.endswith('lower pseudo_weight (10000)')


def test_a_learning_rate_of_a_hundred_times(watched_cfg):
    lr = 100 * watched_cfg.optim_wrapper.optimizer.lr
    watched_cfg.param_scheduler[0].end = 5
    train(watched_cfg, **{'optim_wrapper.optimizer.lr': lr, 'train_cfg.max_iters': 20})
    assert {'gradient', 'non_finite'} & set(warned(watched_cfg))


@HOOKS.register_module()
class StaleStatistics(EMATeacherHook):
    """A teacher whose batch norms keep the statistics that they began with."""

    def after_train_iter(self, runner, *args, **kwargs):
        before = copy.deepcopy(dict(runner.model.teacher.named_buffers()))
        super().after_train_iter(runner, *args, **kwargs)
        for name, buffer in runner.model.teacher.named_buffers():
            buffer.copy_(before[name])


def test_a_teacher_without_the_buffers(watched_cfg):
    train(watched_cfg, **{'default_hooks.teacher.type': 'StaleStatistics'})
    assert 'distance' in warned(watched_cfg)
    (line,) = [text for _, alarm, text in said(watched_cfg) if alarm == 'distance']
    assert line.startswith("the teacher's running statistics ")


def test_a_teacher_far_below_its_student(watched_cfg):
    # Three validations: bad, still bad a window later, and good again.
    class Validations(Hook):
        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
            score = {0: 0.1, 10: 0.12, 20: 0.3}.get(runner.iter)
            if score is not None:
                metrics = {'teacher/coco/bbox_mAP': score, 'student/coco/bbox_mAP': 0.3}
                (watch,) = [h for h in runner.hooks if isinstance(h, TeacherWatchHook)]
                watch.after_val_epoch(runner, metrics)

    train(
        watched_cfg,
        Validations(),
        **{'train_cfg.max_iters': 21, 'default_hooks.teacher.burn_in': 30},
    )
    levels = [(level, alarm) for level, alarm, _ in said(watched_cfg)]
    assert levels == [('WARNING', 'gap'), ('INFO', 'gap')]
    start = "the teacher's mAP is 10.0, the student's 30.0: check"
    assert said(watched_cfg)[0][2].startswith(start)
    assert [r['watch/gap'] for r in scalars(watched_cfg, 'watch/gap')] == [
        pytest.approx(0.2), pytest.approx(0.18), 0,
    ]  # fmt: skip
    assert [r['alarm/gap'] for r in scalars(watched_cfg, 'alarm/')] == [1, 0]


class Poison(Hook):
    """Makes the labelled image of some iterations nan; keeps all tensors after each iteration."""

    priority = 'LOWEST'

    def __init__(self, *iterations):
        self.iterations, self.states, self.updates = iterations, [], []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter in self.iterations:
            images = data_batch['inputs']['labeled']
            images[:] = [None if i is None else i.float() * float('nan') for i in images]

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        tensors = copy.deepcopy(runner.model.state_dict())
        for i, slots in runner.optim_wrapper.optimizer.state_dict()['state'].items():
            tensors |= {f'{i} {k}': v.clone() for k, v in slots.items()}
        self.states.append(tensors)
        (teacher,) = [h for h in runner.hooks if isinstance(h, EMATeacherHook)]
        self.updates.append(teacher.updates)


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


def test_a_step_that_is_not_finite_is_skipped(watched_cfg):
    poison = Poison(1)
    train(watched_cfg, poison, **{'train_cfg.max_iters': 3})
    # Bit for bit: weights, statistics and their counters of both, and the optimizer.
    assert same(poison.states[0], poison.states[1])
    assert not same(poison.states[1], poison.states[2])
    assert all(t.isfinite().all() for t in poison.states[2].values())
    assert poison.updates == [1, 1, 2]
    ((level, alarm, line),) = said(watched_cfg)
    assert (level, alarm) == ('WARNING', 'non_finite')
    assert 'sup_loss_cls nan' in line and 'in iteration 2, with ' in line
    assert '; 1 steps skipped in the last 10 iterations: lower the learning rate (2e-05)' in line
    record = json.loads(Path(watched_cfg.work_dir, 'non_finite.json').read_text())
    assert record['skipped_steps'] == 1
    (batch,) = record['batches']
    assert batch['iteration'] == 2
    assert batch['terms']['sup_loss_cls'] == 'nan'
    assert not {'loss', 'sup_acc'} & batch['terms'].keys()
    assert [image['branch'] for image in batch['images']] == ['labeled'] + ['strong'] * 3
    assert all(Path(image['img_path']).is_file() for image in batch['images'])
    assert all(isinstance(image['img_id'], int) for image in batch['images'])


def test_too_many_skipped_steps_stop_the_run(watched_cfg):
    # Of the two in a window, a good one lies between.
    watched_cfg.default_hooks.watch.limits = dict(non_finite=2)
    poison = Poison(0, 2)
    with pytest.raises(ValueError) as caught:
        train(watched_cfg, poison)
    message = str(caught.value)
    assert re.match(r'not finite: .*sup_loss_cls nan.* in iteration 3, with .*\.(png|jpg)', message)
    assert f'(all images: {watched_cfg.work_dir}/non_finite.json)' in message
    assert '2 steps skipped in the last 10 iterations; ' in message
    assert 'limits.non_finite=2 stops the run: lower the learning rate' in message
    assert '\n' not in message
    record = json.loads(Path(watched_cfg.work_dir, 'non_finite.json').read_text())
    assert record['skipped_steps'] == 2
    assert [batch['iteration'] for batch in record['batches']] == [1, 3]


def test_skipped_steps_long_ago_stop_nothing(watched_cfg):
    watched_cfg.default_hooks.watch.limits = dict(non_finite=2)
    runner = train(watched_cfg, Poison(0, 11), **{'train_cfg.max_iters': 12})
    assert runner.message_hub.get_scalar('watch/skipped').current() == 1
    assert warned(watched_cfg).count('non_finite') == 2


def test_a_bad_batch_among_accumulated_ones_is_found(watched_cfg):
    # The first of two: the step that is left out comes an iteration later.
    poison = Poison(0)
    options = {'optim_wrapper.accumulative_counts': 2, 'train_cfg.max_iters': 4}
    train(watched_cfg, poison, **options)
    weight = 'student.roi_head.bbox_head.fc_cls.weight'
    assert torch.equal(poison.states[1][weight], poison.states[0][weight])
    assert not torch.equal(poison.states[3][weight], poison.states[0][weight])
    assert all(t.isfinite().all() for t in poison.states[3].values())
    assert poison.updates == [0, 0, 0, 1]
    record = json.loads(Path(watched_cfg.work_dir, 'non_finite.json').read_text())
    assert [batch['iteration'] for batch in record['batches']] == [1]


def test_only_the_gradient_is_not_finite(watched_cfg, monkeypatch):
    # sqrt has an infinite slope at 0, where its value is 0.
    def loss(self, *args, **kwargs):
        losses = original(self, *args, **kwargs)
        return losses | {'sup_loss_root': (self.student.rpn_head.rpn_cls.bias * 0).sum().sqrt()}

    original = SemiSupervisedDetector.loss
    monkeypatch.setattr(SemiSupervisedDetector, 'loss', loss)
    train(watched_cfg, **{'train_cfg.max_iters': 1})
    record = json.loads(Path(watched_cfg.work_dir, 'non_finite.json').read_text())
    assert [batch['terms'] for batch in record['batches']] == [{'gradient': 'nan'}]


def test_a_smaller_window_after_a_resumption(watched_cfg):
    # More was counted when the run stopped than a window has now.
    watched_cfg.default_hooks.watch.window = 40
    watched_cfg.default_hooks.checkpoint.interval = 14
    train(watched_cfg, **{'train_cfg.max_iters': 14})
    resumed = copy.deepcopy(watched_cfg)
    resumed.work_dir, resumed.resume = resumed.work_dir + '-resumed', True
    resumed.visualizer.name += '-resumed'
    resumed.load_from = watched_cfg.work_dir + '/iter_14.pth'
    train(resumed, **{'train_cfg.max_iters': 26, 'default_hooks.watch.window': 10})
    assert [record['step'] for record in scalars(resumed, 'watch/distance')] == [15, 25]


def test_a_resumed_run_says_what_the_whole_one_says(watched_cfg):
    # Interrupted in the middle of the first window and after a skipped step.
    watched_cfg.default_hooks.checkpoint.interval = 6
    watched_cfg.default_hooks.watch.limits = dict(images=1.0)
    resumed = copy.deepcopy(watched_cfg)
    whole = train(watched_cfg, Poison(3), **{'train_cfg.max_iters': 14})
    resumed.work_dir, resumed.resume = resumed.work_dir + '-resumed', True
    resumed.visualizer.name += '-resumed'
    resumed.load_from = watched_cfg.work_dir + '/iter_6.pth'
    runner = train(resumed, **{'train_cfg.max_iters': 14})

    # Said before: non_finite. Said after: images, at 10; non_finite is over at 14.
    assert warned(watched_cfg) == ['non_finite', 'images']
    assert warned(resumed) == ['images']
    assert said(resumed) == said(watched_cfg)[1:]
    assert ('INFO', 'non_finite', 'over') in said(resumed)
    for prefix in ('watch/', 'alarm', 'pseudo_'):
        after = [r for r in scalars(watched_cfg, prefix) if r['step'] > 6]
        assert scalars(resumed, prefix) == after, prefix
    states = [{}, {}]
    for each, state in zip((whole, runner), states, strict=True):
        each.call_hook('before_save_checkpoint', checkpoint=state)
    assert states[0]['teacher_watch'] == states[1]['teacher_watch']


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(window=9), 'window is 9, but must be at least 10'),
        (dict(windows=100), "unknown setting 'windows'; did you mean 'window'"),
        (dict(limits=dict(image=0.2)), "unknown setting 'image'; did you mean 'images'"),
        (dict(limits=dict(images=2)), r'limits\.images is 2'),
    ],
)
def test_refused_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        HOOKS.build(dict(type='TeacherWatchHook', **settings))
