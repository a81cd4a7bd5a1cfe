"""The teacher in real training iterations."""

import contextlib
import copy
import itertools

import pytest
import torch
from mmdet.registry import HOOKS
from mmengine.config import ConfigDict
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS
from mmengine.runner import Runner

from ssod.teachers import EMATeacherHook


class Watch(Hook):
    """Keeps student and teacher as they are after each iteration, and the strong samples."""

    priority = 'LOWEST'

    def __init__(self):
        self.student, self.teacher, self.strong, self.branches = [], [], [], []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.branches.append(sorted(data_batch['inputs']))
        samples = data_batch['data_samples'].get('strong', [])
        self.strong.append([len(s.gt_instances) for s in samples])

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.student.append(copy.deepcopy(runner.model.student.state_dict()))
        self.teacher.append(copy.deepcopy(runner.model.teacher.state_dict()))


def train(cfg, **options):
    cfg.merge_from_dict(options)
    runner, watch = Runner.from_cfg(cfg), Watch()
    runner.register_hook(watch)
    start = {}
    runner._init_model_weights()
    start.update(copy.deepcopy(runner.model.student.state_dict()))
    runner.model._is_init = True
    runner._init_model_weights = lambda: None
    runner.train()
    return runner, watch, start


def assert_average(teacher, before, student, decay):
    """Teacher = decay * before + (1 - decay) * student, whole numbers copied."""
    for name, tensor in teacher.items():
        if tensor.is_floating_point():
            expected = decay * before[name] + (1 - decay) * student[name]
            torch.testing.assert_close(tensor, expected, rtol=1e-5, atol=1e-6, msg=name)
        else:
            assert torch.equal(tensor, student[name])


def test_two_iterations(digits_cfg):
    # decay 0.9: the student moves, the teacher is the formula's, with buffers.
    digits_cfg.model.detector.backbone.norm_eval = False
    digits_cfg.default_hooks.teacher.decay = 0.9
    _, watch, start = train(digits_cfg)
    moved = [n for n in start if not torch.equal(start[n], watch.student[0][n])]
    assert {'roi_head.bbox_head.fc_cls.weight', 'backbone.bn1.running_mean'} <= set(moved)
    assert_average(watch.teacher[0], start, watch.student[0], 0.9)
    assert_average(watch.teacher[1], watch.teacher[0], watch.student[1], 0.9)
    assert watch.branches == [['labeled', 'strong']] * 2
    assert sum(map(sum, watch.strong)) > 0


def test_tiny_boxes_are_no_lesson(digits_cfg):
    lessons = []
    for least in (0.0, 30.0):
        cfg = copy.deepcopy(digits_cfg)
        _, watch, _ = train(cfg, **{'default_hooks.teacher.min_size': least})
        lessons.append(watch.strong[0])
    # Of scenes of 96 pixels few boxes are so large; the first step is the same in both.
    assert sum(lessons[1]) < sum(lessons[0])


def test_the_pi_model(digits_cfg):
    # The teacher is the student after each step, and an average with decay 0 gives the same run.
    digits_cfg.model.detector.backbone.norm_eval = False
    average = copy.deepcopy(digits_cfg)
    average.work_dir += '-average'
    selector = digits_cfg.default_hooks.teacher.selector
    digits_cfg.default_hooks.teacher = dict(type='PiTeacherHook', selector=selector)
    _, watch, start = train(digits_cfg, **{'train_cfg.max_iters': 3})
    for student, teacher in zip(watch.student, watch.teacher, strict=True):
        assert not torch.equal(start['backbone.conv1.weight'], student['backbone.conv1.weight'])
        assert all(torch.equal(teacher[name], tensor) for name, tensor in student.items())
    average.default_hooks.teacher.decay = dict(type='stepwise', values=[0.0, 0.9], milestones=[9])
    _, other, _ = train(average, **{'train_cfg.max_iters': 3})
    assert watch.strong == other.strong
    assert sum(map(sum, watch.strong)) > 0
    assert all(torch.equal(watch.student[-1][n], t) for n, t in other.student[-1].items())


def test_burn_in(digits_cfg):
    # Three iterations, two of burn-in: no strong view, the teacher copies; then it averages.
    digits_cfg.default_hooks.teacher.decay = 0.9
    _, watch, _ = train(
        digits_cfg, **{'default_hooks.teacher.burn_in': 2, 'train_cfg.max_iters': 3}
    )
    assert watch.branches == [['labeled'], ['labeled'], ['labeled', 'strong']]
    for i in (0, 1):
        assert all(torch.equal(watch.teacher[i][n], t) for n, t in watch.student[i].items())
    assert_average(watch.teacher[2], watch.teacher[1], watch.student[2], 0.9)


@pytest.mark.parametrize(
    ('burn_in', 'ratio', 'told'), [(1, [1, 3], 1), (0, [1, 3], 0), (1, [1], 0)]
)
def test_a_burn_in_as_long_as_the_run_is_told(digits_cfg, monkeypatch, burn_in, ratio, told):
    digits_cfg.default_hooks.teacher.burn_in = burn_in
    digits_cfg.train_cfg.max_iters = 1
    loader = digits_cfg.train_dataloader
    loader.sampler.source_ratio = ratio
    loader.dataset.datasets = loader.dataset.datasets[: len(ratio)]
    runner, lines = Runner.from_cfg(digits_cfg), []
    monkeypatch.setattr(runner.logger, 'warning', lambda text, *args: lines.append(text % args))
    runner.train()
    start = 'burn_in is 1, but the run has only 1 iterations'
    assert sum(line.startswith(start) for line in lines) == told


def test_gradient_accumulation(digits_cfg):
    # Trap: with two iterations to a step, the teacher moves at the second and the fourth only.
    digits_cfg.optim_wrapper.accumulative_counts = 2
    digits_cfg.default_hooks.teacher.decay = 0.9
    runner, watch, start = train(digits_cfg, **{'train_cfg.max_iters': 4})
    assert all(torch.equal(watch.teacher[0][n], t) for n, t in start.items())
    assert_average(watch.teacher[1], start, watch.student[1], 0.9)
    assert all(torch.equal(watch.teacher[2][n], t) for n, t in watch.teacher[1].items())
    assert_average(watch.teacher[3], watch.teacher[2], watch.student[3], 0.9)
    (hook,) = (hook for hook in runner.hooks if isinstance(hook, EMATeacherHook))
    assert hook.updates == 2


@pytest.mark.parametrize('fused', [False, True])
def test_steps_that_a_gradient_scaler_skips(digits_cfg, monkeypatch, fused):
    # fp16's scaler leaves out steps with infinite gradients; the teacher must not move with them.
    class Scaled(OptimWrapper):
        """As mmengine's AmpOptimWrapper, which needs a GPU, does its steps."""

        loss_scaler = torch.amp.GradScaler('cpu', init_scale=2.0**127)

        def backward(self, loss, **kwargs):
            super().backward(self.loss_scaler.scale(16 * loss), **kwargs)

        def step(self, **kwargs):
            self.loss_scaler.unscale_(self.optimizer)
            self.loss_scaler.step(self.optimizer)
            self.loss_scaler.update()

    monkeypatch.setitem(OPTIM_WRAPPERS._module_dict, 'Scaled', Scaled)
    digits_cfg.optim_wrapper = dict(type='Scaled', optimizer=dict(type='SGD', lr=1e-4, fused=fused))
    digits_cfg.default_hooks.teacher.decay = 0.9
    runner, watch, start = train(digits_cfg, **{'train_cfg.max_iters': 10})
    weight = 'roi_head.bbox_head.fc_cls.weight'
    students, teachers = [start, *watch.student], [start, *watch.teacher]
    moved = [not torch.equal(a[weight], b[weight]) for a, b in itertools.pairwise(students)]
    assert moved[0] is False, 'the scale is too large at first'
    assert moved[-1] is True, 'and then it is not'
    (hook,) = (hook for hook in runner.hooks if isinstance(hook, EMATeacherHook))
    assert hook.updates == sum(moved)
    for number, really in enumerate(moved):
        if really:
            after = teachers[number + 1], teachers[number], students[number + 1]
            assert_average(*after, 0.9)
        else:
            assert all(torch.equal(teachers[number + 1][n], t) for n, t in teachers[number].items())


def test_bfloat16_keeps_the_teacher_exact(digits_cfg, monkeypatch):
    # Autocast computes in bfloat16; the weights that are averaged are float32 all the same.
    class Bfloat16(OptimWrapper):
        """As mmengine's AmpOptimWrapper, which needs a GPU, does its steps."""

        @contextlib.contextmanager
        def optim_context(self, model):
            with super().optim_context(model), torch.autocast('cpu', dtype=torch.bfloat16):
                yield

    monkeypatch.setitem(OPTIM_WRAPPERS._module_dict, 'Bfloat16', Bfloat16)
    digits_cfg.optim_wrapper.type = 'Bfloat16'
    digits_cfg.default_hooks.teacher.decay = 0.9
    _, watch, start = train(digits_cfg)
    assert {t.dtype for t in watch.teacher[1].values()} == {torch.float32, torch.int64}
    assert_average(watch.teacher[0], start, watch.student[0], 0.9)
    assert_average(watch.teacher[1], watch.teacher[0], watch.student[1], 0.9)
    assert sum(map(sum, watch.strong)) > 0


def test_resume_goes_on_with_the_warm_up(digits_cfg):
    # Trap: a warm-up that starts again at a resume would copy the student over the teacher.
    digits_cfg.default_hooks.teacher.decay = dict(type='warm_up', decay=0.99)
    whole = copy.deepcopy(digits_cfg)
    _, first, _ = train(digits_cfg, **{'train_cfg.max_iters': 3})
    whole.work_dir, whole.resume = whole.work_dir + '-resumed', True
    whole.load_from = digits_cfg.work_dir + '/iter_2.pth'
    whole.train_cfg.max_iters = 3
    runner, watch = Runner.from_cfg(whole), Watch()
    runner.register_hook(watch)
    runner.train()
    # Third update: 1 - 1/3 of the teacher is kept.
    assert_average(watch.teacher[0], first.teacher[1], watch.student[0], 2 / 3)


def test_starting_from_a_checkpoint_counts_anew(digits_cfg):
    # Weights of another run are a start, not a resumption: the first update copies again.
    digits_cfg.default_hooks.teacher.decay = dict(type='warm_up', decay=0.99)
    other = copy.deepcopy(digits_cfg)
    train(digits_cfg)
    other.work_dir, other.load_from = other.work_dir + '-other', digits_cfg.work_dir + '/iter_2.pth'
    other.train_cfg.max_iters = 1
    runner, watch = Runner.from_cfg(other), Watch()
    runner.register_hook(watch)
    runner.train()
    assert_average(watch.teacher[0], watch.student[0], watch.student[0], 0.0)


def test_starting_from_a_checkpoint_the_selector_knows_nothing(digits_cfg, monkeypatch):
    # The scores that another run has seen are those of another teacher.
    counts, predict = [], EMATeacherHook.predict

    def counted(self, runner, weak):
        predictions, soft_targets = predict(self, runner, weak)
        counts.append(sum(map(len, predictions)))
        return predictions, soft_targets

    monkeypatch.setattr(EMATeacherHook, 'predict', counted)
    digits_cfg.default_hooks.teacher.selector = dict(type='MixtureSelector', num_classes=10)
    digits_cfg.train_cfg.max_iters = 1
    other = copy.deepcopy(digits_cfg)
    other.work_dir, other.load_from = other.work_dir + '-other', digits_cfg.work_dir + '/iter_1.pth'
    for cfg in (digits_cfg, other):
        runner, _, _ = train(cfg)
        (hook,) = (hook for hook in runner.hooks if isinstance(hook, EMATeacherHook))
        assert hook.selector.state_dict()['seen'].sum() == counts[-1] > 0
    assert len(counts) == 2


def test_a_selector_for_other_classes_is_refused(digits_cfg):
    digits_cfg.default_hooks.teacher.selector = ConfigDict(
        type='ClassScoreSelector', thresholds=[0.5, 0.5]
    )
    with pytest.raises(ValueError, match='number of thresholds is 2, but must be 10, one for each'):
        Runner.from_cfg(digits_cfg).train()


def test_a_loop_of_epochs_would_never_end(digits_cfg):
    digits_cfg.train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=1)
    with pytest.raises(ValueError, match='EpochBasedTrainLoop needs a data loader that ends, but'):
        Runner.from_cfg(digits_cfg).train()


def test_a_batch_that_does_not_fit_the_ratio_is_refused(digits_cfg):
    digits_cfg.train_dataloader.batch_size = 3
    with pytest.raises(ValueError, match=r'batch_size=3 does not fit source_ratio=\[1, 3\]'):
        Runner.from_cfg(digits_cfg).train()


def test_batches_of_one_orientation(digits_cfg, monkeypatch):
    # Scenes have one size; let every second one count as portrait.
    monkeypatch.setattr(
        'ssod.data.orientation._is_portrait', lambda info: int(info['img_id']) % 2 == 1
    )
    digits_cfg.train_dataloader.sampler.by_orientation = True
    # One batch of 32 is mixed; with this seed it is not among the first six.
    digits_cfg.randomness = dict(seed=2)
    digits_cfg.train_cfg.max_iters = 6
    digits_cfg.default_hooks.teacher.burn_in = 6
    seen = []

    class Images(Hook):
        priority = 'HIGHEST'

        def before_train_iter(self, runner, batch_idx, data_batch=None):
            weak = filter(None, data_batch['data_samples']['weak'])
            seen.append([int(sample.img_id) % 2 for sample in weak])

    runner = Runner.from_cfg(digits_cfg)
    runner.register_hook(Images())
    runner.train()
    assert len(seen) == 6
    assert {tuple(batch) for batch in seen} == {(0, 0, 0), (1, 1, 1)}


def test_unlabelled_annotations_would_not_be_seen(digits, digits_cfg):
    # Trap: even if the unlabelled file held its annotations, none would reach the student.
    leaky = copy.deepcopy(digits_cfg)
    leaky.work_dir += '-leaky'
    leaky.train_dataloader.dataset.datasets[1].ann_file = 'annotations/unlabeled_truth.json'
    options = {'default_hooks.teacher.selector': ConfigDict(type='ScoreSelector', threshold=1.0)}
    _, clean, _ = train(digits_cfg, **options)
    _, watch, _ = train(leaky, **options)
    assert watch.strong == [[0, 0, 0]] * 2
    for name, tensor in clean.student[-1].items():
        assert torch.equal(tensor, watch.student[-1][name]), name


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        # Trap: mmdet's momentum is the student's share; as a decay it would be no teacher at all.
        (dict(decay=0.001), 'share that the teacher keeps'),
        (dict(decay=dict(type='warm_up', decay=0.0004)), 'must be in'),
        (dict(decay=1.5), 'must be in'),
        (
            dict(decay=dict(type='stepwise', values=[1.5, 0.99], milestones=[9])),
            'decay is 1.5 at first',
        ),
        (dict(decay=dict(type='linear', start=-3, end=0.99, steps=9)), r'decay is -3 .* in \[0, 1'),
        (dict(burn_in=-1), 'EMATeacherHook: burn_in is -1, but must be at least'),
        # No iteration is the 10.5th, so nothing that waits for it would ever happen.
        (dict(burn_in=10.5), 'burn_in is 10.5, but must be a whole number'),
        (dict(burn_in='5'), "burn_in is '5', but must be a whole number"),
        (dict(min_size=-1), 'EMATeacherHook: min_size is -1, but must be at least 0'),
        (dict(min_size='a'), "min_size is 'a', but must be a number"),
        (dict(min_size=float('nan')), 'min_size is nan, but must be at least 0'),
        (dict(burnin=5), "did you mean 'burn_in'"),
        (dict(momentum=0.001), "unknown setting 'momentum'"),
    ],
)
def test_refused_settings(settings, message):
    selector = dict(type='ScoreSelector', threshold=0.5)
    with pytest.raises(ValueError, match=message):
        HOOKS.build(dict(type='EMATeacherHook', selector=selector, **settings))
