"""Two ranks learn what one process learns from the images of both, and call for the same sums.

A rank that called for one more than the others would wait for them for ever.
"""

import pytest
import torch
from mmengine.config import Config
from torch import distributed

from ssod.data.branches import Branch

from .conftest import build, digits_model, sample

BOXES = [[4.0, 4, 30, 40], [20, 20, 44, 60]]
CONSISTENT_TEACHER = 'configs/consistentteacher_retinanet_digits10pct.py'


def picture(number):
    generator = torch.Generator().manual_seed(number)
    return torch.randint(0, 256, (3, 64, 64), generator=generator, dtype=torch.uint8)


def views(counts, ranks, first):
    """An image of each rank, with so many boxes."""
    samples = [sample(BOXES[: counts[rank]], [3, 7][: counts[rank]]) for rank in ranks]
    return Branch(inputs=[picture(first + rank) for rank in ranks], data_samples=samples)


def batch(labeled, strong):
    branches = {'labeled': labeled, 'strong': strong}
    return {key: {k: b[key] for k, b in branches.items()} for key in ('inputs', 'data_samples')}


def gradients(model, data, kind):
    """Those of the losses of one kind."""
    losses = model(**model.data_preprocessor(data, True), mode='loss')
    model.zero_grad()
    loss, _ = model.parse_losses({k: v for k, v in losses.items() if k.startswith(kind)})
    loss.backward()
    named = model.student.named_parameters()
    return {name: torch.zeros_like(p) if p.grad is None else p.grad.clone() for name, p in named}


def mean_of_ranks(step, monkeypatch):
    """The mean gradients of two ranks that are run one after the other.

    First it is heard what each of them would add up, then they are told the sums.
    """
    said, sums = [], None

    def all_reduce(tensor, op=None):
        said[-1].append(tensor.clone())
        if sums is not None:
            tensor.copy_(sums[len(said[-1]) - 1])

    def both():
        said.clear()
        found = []
        for rank in (0, 1):
            said.append([])
            found.append(step([rank]))
        return found

    with monkeypatch.context() as patch:
        patch.setattr(distributed, 'is_initialized', lambda: True)
        patch.setattr(distributed, 'get_world_size', lambda *_: 2)
        patch.setattr(distributed, 'all_reduce', all_reduce)
        both()
        shapes = [[tensor.shape for tensor in of_rank] for of_rank in said]
        assert shapes[0] == shapes[1] != []
        sums = [one + two for one, two in zip(*said, strict=True)]
        one, two = both()
    return {name: (one[name] + two[name]) / 2 for name in one}


def assert_close(found, wanted):
    assert any(tensor.abs().max() > 1e-4 for tensor in wanted.values())
    for name, tensor in wanted.items():
        torch.testing.assert_close(found[name], tensor, rtol=1e-3, atol=1e-5, msg=name)


@pytest.mark.parametrize(
    ('labels', 'pseudo'),
    [
        # The boxes of each rank: some on both, and none of a kind on one.
        ([2, 1], [1, 2]),
        ([2, 0], [0, 2]),
    ],
)
def test_consistent_teacher(labels, pseudo, monkeypatch):
    # Half of the strong views have a box in the second case: background counts in full.
    cfg = Config.fromfile(CONSISTENT_TEACHER).model
    cfg.detector.backbone.norm_eval = True
    model = build(cfg)
    model.step = 10**6

    def step(ranks):
        data = batch(views(labels, ranks, first=0), views(pseudo, ranks, first=2))
        return gradients(model, data, '')

    assert_close(mean_of_ranks(step, monkeypatch), step([0, 1]))


@pytest.mark.parametrize('regions', [[12, 5], [12, 0]])
def test_the_consistency_loss(regions, monkeypatch):
    model = build(digits_model(consistency=dict(num_regions=12)))
    model.step = 10**6

    def step(ranks):
        strong = views([0, 0], ranks, first=2)
        weak = views([0, 0], ranks, first=2)
        _, soft_targets = model.teach(weak)
        targets = [t[: regions[rank]] for rank, t in zip(ranks, soft_targets, strict=True)]
        same = torch.eye(3).expand(len(ranks), 3, 3)
        model.set_soft_targets(targets, strong['data_samples'], same)
        return gradients(model, batch(views([1, 1], ranks, first=0), strong), 'consistency')

    assert_close(mean_of_ranks(step, monkeypatch), step([0, 1]))
