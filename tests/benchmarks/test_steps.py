"""Steps of a benchmark: real ones, on the same weights, and what they consist of."""

import copy
import sys
import traceback
from collections import Counter
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import cv2
import pytest
import torch
from mmengine.config import Config
from torch.utils._python_dispatch import TorchDispatchMode

from ssod.benchmarks.phases import PHASES, phases_of
from ssod.benchmarks.stepping import set_threshold
from ssod.benchmarks.steps import Bench, step_calls, variants
from ssod.models import quick_matching
from ssod.models.strided_conv import StridedConv2d
from ssod.ops import weighted_sums

ROOT = Path(__file__).parents[2]
OURS = ROOT / 'configs/mt_fasterrcnn_digits10pct.py'
MMDETS = ROOT / 'studies/mmdet/semibase_fasterrcnn_digits.py'


def test_steps(bench):
    calls = step_calls(bench, [OURS])
    assert list(calls) == ['floor', str(OURS.with_suffix(''))]
    for call in calls.values():
        call()


def test_no_threshold_without_boxes(bench):
    options = bench.options | {'model.detector.test_cfg.rcnn.score_thr': 1.0}
    with pytest.raises(
        ValueError, match=r'^an untrained detector finds no box .*\.score_thr=0\.0$'
    ):
        step_calls(replace(bench, options=options), [OURS])


def both(bench):
    """With batches that the samplers of both take."""
    options = {key: value for key, value in bench.options.items() if 'batch' not in key}
    return replace(bench, options=options)


def test_mmdets_steps_are_timed_as_shipped_too(bench, monkeypatch):
    """In float32 and without our operators; on a CPU ours is RoIAlign as weighted sums."""
    pools, dtypes, now = Counter(), {}, ['start']
    pool, linear = weighted_sums.pool, torch.nn.functional.linear

    def noted_pool(*args):
        pools[now[-1]] += 1
        return pool(*args)

    def noted_linear(*args):
        output = linear(*args)
        dtypes.setdefault(now[-1], set()).add(output.dtype)
        return output

    monkeypatch.setattr(weighted_sums, 'pool', noted_pool)
    monkeypatch.setattr(torch.nn.functional, 'linear', noted_linear)
    calls = step_calls(replace(both(bench), amp=True), [OURS, MMDETS])
    for name, call in calls.items():
        now.append(name)
        call()
    ours, mmdets = (str(path.with_suffix('')) for path in (OURS, MMDETS))
    shipped = f'{mmdets}, as shipped'
    assert list(calls) == ['floor', ours, mmdets, shipped]
    assert pools.keys() - {'start'} == {'floor', ours, mmdets}
    del dtypes['start']
    others = {name: {torch.bfloat16} for name in ('floor', ours, mmdets)}
    assert dtypes == {**others, shipped: {torch.float32}}


def test_mmdets_have_our_convolutions_unless_as_shipped(bench):
    start = bench.start(OURS)
    found = {
        variant.name: any(
            isinstance(part, StridedConv2d) for part in variant.trainer(start, 0.1).model.modules()
        )
        for variant in variants(both(bench), [MMDETS])
    }
    mmdets = str(MMDETS.with_suffix(''))
    assert found == {mmdets: True, f'{mmdets}, as shipped': False}


@pytest.mark.parametrize('config', [OURS, MMDETS])
def test_student_and_teacher_stay(bench, config):
    """Or else a teacher would find fewer boxes from step to step."""
    trainer = both(bench).trainer(config, bench.start(OURS), 0.1)
    before = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    for _ in range(3):
        trainer.step()
    # All is computed, moments too, but the learning rate is 0.
    moments = trainer.runner.optim_wrapper.optimizer.state
    assert len(moments) == len(list(trainer.model.student.parameters()))
    after = trainer.model.state_dict()
    # mmdet's average of two equal numbers rounds.
    same = {k for k, v in before.items() if torch.allclose(after[k], v, rtol=1e-6, atol=0)}
    changed = before.keys() - same
    # How many batches a norm saw: with a momentum, nothing reads it.
    assert {name.rpartition('.')[2] for name in changed} == {'num_batches_tracked'}


def test_mmdets_own_steps(bench):
    options = {**bench.options, 'train_dataloader.sampler.batch_size': 4}
    options['train_dataloader.sampler.source_ratio'] = [1, 3]
    theirs = Bench(bench.data, bench.work_dir, options)
    trainer = theirs.trainer(MMDETS, theirs.start(MMDETS), 0.1)
    trainer.step()
    assert type(trainer.model).__name__ == 'SemiBaseDetector'


def test_phases_are_the_whole(bench):
    trainer = bench.trainer(OURS, bench.start(OURS), 0.1)
    seconds = phases_of(trainer, 1)
    assert tuple(seconds) == PHASES
    assert all(value > 0 for value in seconds.values())
    # Nothing is left of the stopwatches.
    assert not {'predict', 'update_teacher'} & vars(trainer.runner.hooks[0]).keys()


@pytest.mark.parametrize(
    ('path', 'expected'),
    [
        ('configs/mt_fasterrcnn_digits10pct.py', {'threshold': 0.25}),
        (
            'configs/softteacher_fasterrcnn_digits10pct.py',
            {'threshold': 0.25, 'score_threshold': 0.25, 'min_score': 0.25},
        ),
        (
            'studies/mmdet/softteacher_fasterrcnn_digits.py',
            {
                'pseudo_label_initial_score_thr': 0.25,
                'rpn_pseudo_thr': 0.25,
                'cls_pseudo_thr': 0.25,
                # No score.
                'reg_pseudo_thr': 0.02,
            },
        ),
    ],
)
def test_a_threshold_for_all(path, expected):
    cfg = Config.fromfile(ROOT / path)
    set_threshold(cfg, 0.25)
    model, teacher = cfg.model, cfg.default_hooks.get('teacher', {})
    parts = [model, model.get('semi_train_cfg'), model.get('box_jitter'), teacher.get('selector')]
    found = {k: v for part in parts for k, v in (part or {}).items() if k in expected}
    assert found == expected
    # Thresholds of the detector are none of ours.
    assert cfg.model.detector.test_cfg.rcnn.score_thr == 0.05


class Reads(TorchDispatchMode):
    """Notes who asks for a tensor's value, or how many are true: there the host waits for a GPU."""

    def __init__(self):
        super().__init__()
        self.by = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        aten = torch.ops.aten
        indices = args[1] if func is aten.index.Tensor else []
        masks = [index for index in indices if index is not None and index.dtype is torch.bool]
        if masks or func is aten.nonzero.default:
            self.by[caller(), 'counts'] += 1
        elif func is aten._local_scalar_dense.default:
            self.by[caller(), 'reads'] += 1
        return func(*args, **(kwargs or {}))


def caller():
    """The file of this package, if any, that asked for what happens now."""
    files = [Path(frame.filename) for frame in traceback.extract_stack()]
    asked = next(f for f in reversed(files) if 'torch' not in f.parts and f != Path(__file__))
    return asked.relative_to(ROOT).as_posix() if asked.is_relative_to(ROOT / 'ssod') else 'others'


@contextmanager
def counting(monkeypatch, counts, key, owner, name):
    original = getattr(owner, name)

    def count(*args, **kwargs):
        counts[key, caller() if key == 'copied' else ''] += 1
        return original(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, count)
        yield


@pytest.mark.parametrize('quick', [False, True])
def test_what_a_step_consists_of(bench, monkeypatch, quick):
    """Guards the structure of a step, whatever the clock says; as on a CPU and as on a GPU."""
    monkeypatch.setattr(quick_matching, 'QUICK_ON', {'cpu'} if quick else set())
    trainer = bench.trainer(OURS, bench.start(OURS), 0.1)
    trainer.step()
    counts, model = Counter(), trainer.model
    with counting(monkeypatch, counts, 'decoded', cv2, 'imdecode'):
        batch = trainer.load()
    copying = [m for m in sys.modules.values() if vars(m).get('deepcopy') is copy.deepcopy]
    with ExitStack() as stack:
        for owner in copying:
            stack.enter_context(counting(monkeypatch, counts, 'copied', owner, 'deepcopy'))
        for name in ('student', 'teacher'):
            backbone = model.get_submodule(name).backbone
            stack.enter_context(counting(monkeypatch, counts, name, backbone, 'forward'))
        reads = stack.enter_context(Reads())
        trainer.runner.train_loop.step(batch)
    # One labelled image and three others, which are not decoded anew for their second view.
    assert counts.pop(('decoded', '')) == 4
    # Labelled images and strong views pass together.
    assert counts.pop(('student', '')) == counts.pop(('teacher', '')) == 1
    # mmdet copies some settings and records; we copy nothing.
    assert counts.keys() <= {('copied', 'others')}
    # Which boxes of an image are confident, and which anchors lie in it, where it does not fill the
    # batch; what is too small is asked for all images at once, the teacher's and the student's.
    asked = reads.by
    assert asked.pop(('ssod/pseudo_labels/selectors.py', 'counts')) == 3
    assert asked.pop(('ssod/models/batched_rpn_head.py', 'counts'), 0) <= 3 + 2
    assert asked.pop(('ssod/models/batched_bbox_head.py', 'counts')) == 1
    # Of boxes in the strong views, for all images at once; then, on the CPU, whose they are.
    assert asked.pop(('ssod/projection.py', 'counts')) == 1 + 1
    # Of an image's two draws the seeds, which are on the CPU.
    assert asked.pop(('ssod/models/quick_matching.py', 'reads'), 0) == (2 * 4 if quick else 0)
    # The watch reads losses after mmengine has; operators on a CPU choose by the regions' sizes.
    ours = {file for file, _ in asked if not file.startswith('ssod/ops/')}
    assert ours <= {'others', 'ssod/teachers/watch.py', 'ssod/teachers/step_guard.py'}
    assert asked['others', 'reads'] > 0
    # Of which anchors and regions are matched and drawn nothing is counted on a GPU.
    assert asked['others', 'counts'] <= 10 if quick else asked['others', 'counts'] > 30
