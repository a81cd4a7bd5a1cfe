"""Steps that are made and steps that are left out, on a model of one layer."""

import dataclasses
import functools

import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from mmengine.optim.optimizer import amp_optimizer_wrapper
from mmengine.structures import InstanceData
from torch import nn

from ssod.teachers.box_counts import PseudoTally
from ssod.teachers.step_guard import PATIENCE, Step, StepGuard

NAN, INF = float('nan'), float('inf')


class Student(nn.Module):
    """y = w · norm(x)."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(1)
        self.layer = nn.Linear(1, 1, bias=False)
        self.layer.weight.data.fill_(1.0)

    def forward(self, values):
        return self.layer(self.norm(torch.tensor(values)[:, None])).sum()


def guarded(wrapper=OptimWrapper, **settings):
    torch.manual_seed(0)
    student = Student()
    # Momentum and weight decay move weights that have no gradient.
    optimizer = torch.optim.SGD(student.parameters(), lr=0.1, momentum=0.9, weight_decay=0.1)
    wrapper = wrapper(optimizer=optimizer, **settings)
    return student, wrapper, StepGuard(wrapper, student)


def train(student, wrapper, guard, loss):
    """One iteration; ``loss`` gets the student's output on a batch whose mean is not the last."""
    guard.remember()
    wrapper.update_params(loss(student([1.0, 3.0, 8.0])))
    return guard.pop_step()


def state(student, wrapper):
    momenta = [s['momentum_buffer'].clone() for s in wrapper.optimizer.state.values()]
    return [t.clone() for t in student.state_dict().values()], momenta


def same(one, other):
    return all(
        torch.equal(a, b)
        for ours, theirs in zip(one, other, strict=True)
        for a, b in zip(ours, theirs, strict=True)
    )


def squared(output):
    return (output - 1) ** 2


@pytest.mark.parametrize(
    'loss',
    [
        # A loss that is not finite, one whose gradient is, and a gradient alone: sqrt at 0.
        lambda output: output * NAN,
        lambda output: output.detach() * INF + output,
        lambda output: (output * 0).sqrt(),
    ],
)
def test_a_bad_step_leaves_everything_as_it_was(loss):
    parts = student, wrapper, _ = guarded()
    first = train(*parts, squared)
    assert not first.skipped
    before = state(student, wrapper)
    second = train(*parts, loss)
    assert second.skipped
    assert same(before, state(student, wrapper))
    # The batch norm's counter too; and nothing of the bad gradient is left for the next step.
    third = train(*parts, squared)
    assert not third.skipped
    assert student.layer.weight.isfinite().all()
    assert not same(before, state(student, wrapper))
    assert student.norm.num_batches_tracked == 2


def test_the_norm_is_the_gradient_s():
    # d(w·s)/dw = s: the sum of three normalized values is 0; w's gradient of 3w is 3.
    student, wrapper, guard = guarded(clip_grad=dict(max_norm=1.0))
    wrapper.update_params(3 * student.layer.weight.sum())
    # Before the clipping.
    assert guard.pop_step() == Step(skipped=False, norm=3.0)
    assert guard.pop_step() is None


@pytest.mark.parametrize('bad', [0, 1])
def test_accumulated_gradients_are_dropped_as_a_whole(bad):
    # Two batches to a step, of which one is bad: neither changes anything, nor the next step.
    parts = student, wrapper, _ = guarded(accumulative_counts=2)
    other = other_student, other_wrapper, _ = guarded(accumulative_counts=2)
    losses = [squared, squared]
    losses[bad] = lambda output: output * NAN
    before = state(student, wrapper)
    assert train(*parts, losses[0]) is None
    assert train(*parts, losses[1]).skipped
    assert same(before, state(student, wrapper))
    for each in (parts, other):
        assert train(*each, squared) is None
        assert not train(*each, squared).skipped
    assert same(state(student, wrapper), state(other_student, other_wrapper))


@pytest.fixture
def scaled(monkeypatch):
    """Mixed precision as on a GPU."""
    cpu = functools.partial(torch.amp.GradScaler, device='cpu')
    monkeypatch.setattr(amp_optimizer_wrapper, 'GradScaler', cpu)
    monkeypatch.setattr(amp_optimizer_wrapper, 'is_cuda_available', lambda: True)
    return guarded(AmpOptimWrapper)


def test_a_scaler_that_finds_no_scale_is_a_failure(scaled):
    student, wrapper, guard = scaled
    for _ in range(PATIENCE):
        # A loss of 0 whose gradient is none at any scale.
        wrapper.update_params((0 * student.layer.weight.sum()).sqrt())
        assert not guard.pop_step().skipped
    for _ in range(200):
        wrapper.update_params((0 * student.layer.weight.sum()).sqrt())
        assert guard.pop_step().skipped
    wrapper.update_params(3 * student.layer.weight.sum())
    assert guard.pop_step() == Step(skipped=False, norm=3.0)
    wrapper.update_params((0 * student.layer.weight.sum()).sqrt())
    assert not guard.pop_step().skipped


def test_a_gradient_scaler_s_own_skips_are_no_failure(scaled):
    # The scaled gradient overflows, the loss does not.
    student, wrapper, guard = scaled
    scale, weight = wrapper.loss_scaler.get_scale(), student.layer.weight.clone()

    wrapper.update_params(1e37 * student.layer.weight.sum())
    step = guard.pop_step()
    assert not step.skipped
    assert step.norm == INF
    assert torch.equal(weight, student.layer.weight)
    assert wrapper.loss_scaler.get_scale() == scale / 2
    # A loss that is not finite is one, and none of the scaler's.
    wrapper.update_params(NAN * student.layer.weight.sum())
    assert guard.pop_step().skipped
    assert wrapper.loss_scaler.get_scale() == scale / 2
    # An ordinary step: the norm is that of the gradient without its scale.
    wrapper.update_params(3 * student.layer.weight.sum())
    assert guard.pop_step() == Step(skipped=False, norm=3.0)
    assert not torch.equal(weight, student.layer.weight)


def work(rank, folder):
    torch.distributed.init_process_group(
        'gloo', init_method=f'file://{folder}/meet', rank=rank, world_size=2
    )
    student, wrapper, guard = guarded()
    model = nn.parallel.DistributedDataParallel(student, broadcast_buffers=False)
    steps = []
    # Rank 1 alone meets a bad loss, in its second step; the gradient, which is shared, is finite.
    for extra in (0.0, INF if rank else 0.0, 0.0):
        guard.remember()
        wrapper.update_params(squared(model([1.0, 3.0, 8.0])) + extra)
        steps.append((guard.pop_step().skipped, student.layer.weight.item()))
    # Rank 0 sees two images without a box, rank 1 one with two.
    tally = PseudoTally(2)
    tally.add([image([1, 1], [0.5, 1.0])] if rank else [image([], []), image([], [])])
    # Both go on from one checkpoint, which holds what rank 0 has counted.
    again, saved = PseudoTally(2), PseudoTally(2)
    saved.add([image([0], [0.5])])
    again.load_state_dict(saved.state_dict())
    counts = [dataclasses.asdict(t.counts()) for t in (tally, again)]
    torch.save((steps, counts), f'{folder}/rank{rank}.pth')
    torch.distributed.destroy_process_group()


def image(labels, scores):
    sample = DetDataSample()
    sample.gt_instances = InstanceData(
        labels=torch.tensor(labels).long(), scores=torch.tensor(scores)
    )
    return sample


def test_ranks_skip_the_same_steps_and_count_together(tmp_path):
    torch.multiprocessing.spawn(work, (str(tmp_path),), nprocs=2)
    first, second = (torch.load(tmp_path / f'rank{rank}.pth') for rank in (0, 1))
    assert first == second
    steps, counts = first
    assert [skipped for skipped, _ in steps] == [False, True, False]
    weights = [weight for _, weight in steps]
    assert weights[0] == weights[1] != weights[2]
    assert counts == [
        dict(images=3, with_boxes=1, classes=[0, 2], mean=0.75, lowest=0.5),
        dict(images=1, with_boxes=1, classes=[1, 0], mean=0.5, lowest=0.5),
    ]
