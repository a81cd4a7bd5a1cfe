"""Matching and drawing as on a GPU, against mmdet's own."""

from collections import Counter
from itertools import product

import pytest
import torch
from mmdet.models.task_modules.assigners import ATSSAssigner, MaxIoUAssigner
from mmdet.models.task_modules.samplers import (
    InstanceBalancedPosSampler,
    RandomSampler,
)
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from ssod.data.sampler import DRAW
from ssod.models import quick_matching
from ssod.models.quick_matching import QuickMaxIoUAssigner, QuickRandomSampler, quicken_matching
from ssod.models.region_sampling import sampling_by_image

FIELDS = 'gt_inds', 'max_overlaps', 'labels'
DRAWN = 'pos_inds', 'neg_inds', 'pos_priors', 'neg_priors', 'pos_is_gt', 'pos_assigned_gt_inds'
DRAWN += 'pos_gt_labels', 'pos_gt_bboxes', 'avg_factor', 'num_gts'


@pytest.fixture
def quick(monkeypatch):
    """As on a GPU."""
    monkeypatch.setattr(quick_matching, 'QUICK_ON', {'cpu'})


def boxes(count, seed):
    """Whole numbers, so that several often have the same IoU."""
    generator = torch.Generator().manual_seed(seed)
    corners = torch.randint(0, 20, (count, 2), generator=generator).float()
    sides = torch.randint(1, 12, (count, 2), generator=generator).float()
    return torch.cat([corners, corners + sides], dim=1)


def image(others=400, true=9, seed=0):
    truth = InstanceData(bboxes=boxes(true, seed + 1), labels=torch.arange(true) + 3)
    return InstanceData(priors=boxes(others, seed)), truth


@pytest.mark.parametrize('background', [0.3, (0.1, 0.4), 0])
@pytest.mark.parametrize(('low', 'every'), list(product([True, False], repeat=2)))
@pytest.mark.parametrize('least', [0.0, 0.3])
def test_matches_are_mmdets(quick, background, low, every, least):
    settings = dict(match_low_quality=low, gt_max_assign_all=every, min_pos_iou=least)
    for others, true in product([0, 1, 50, 400], [0, 1, 9]):
        found, wanted = (
            kind(pos_iou_thr=0.5, neg_iou_thr=background, **settings).assign(*image(others, true))
            for kind in (QuickMaxIoUAssigner, MaxIoUAssigner)
        )
        for name in FIELDS:
            one, other = getattr(found, name), getattr(wanted, name)
            assert one.dtype == other.dtype, name
            assert torch.equal(one, other), name
        assert found.num_gts == wanted.num_gts


def test_what_mmdet_ignores_is_ignored(quick):
    settings = dict(pos_iou_thr=0.5, neg_iou_thr=0.3, ignore_iof_thr=0.5)
    ignored = InstanceData(bboxes=torch.tensor([[0.0, 0, 12, 12]]))
    found, wanted = (
        kind(**settings).assign(*image(), ignored) for kind in (QuickMaxIoUAssigner, MaxIoUAssigner)
    )
    assert torch.equal(found.gt_inds, wanted.gt_inds)
    assert (found.gt_inds == -1).sum() > 50


class Waits(TorchDispatchMode):
    """Counts what a GPU is waited for."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        aten = torch.ops.aten
        indices = args[1] if func in (aten.index.Tensor, aten.index_put_.default) else []
        masked = any(index is not None and index.dtype is torch.bool for index in indices)
        self.count += masked or func in (aten.nonzero.default, aten._local_scalar_dense.default)
        return func(*args, **(kwargs or {}))


def test_a_gpu_is_not_waited_for_to_match(quick):
    waits = []
    for kind in (QuickMaxIoUAssigner, MaxIoUAssigner):
        assigner = kind(pos_iou_thr=0.5, neg_iou_thr=0.3)
        with Waits() as mode:
            assigner.assign(*image())
        waits.append(mode.count)
    assert waits[0] == 0 < waits[1]


def sampled(kind, others=400, true=9, **settings):
    settings = {'num': 64, 'pos_fraction': 0.25, 'add_gt_as_proposals': True, **settings}
    priors, truth = image(others, true)
    matched = MaxIoUAssigner(pos_iou_thr=0.5, neg_iou_thr=0.4).assign(priors, truth)
    return kind(**settings).sample(matched, priors, truth)


def test_on_a_cpu_the_draw_is_mmdets():
    draws = []
    for kind in (QuickRandomSampler, RandomSampler):
        torch.manual_seed(0)
        draws.append(sampled(kind))
    for name in DRAWN:
        torch.testing.assert_close(*(getattr(draw, name) for draw in draws), rtol=0, atol=0)


@pytest.mark.parametrize('own', [True, False])
def test_where_all_are_wanted_they_are_mmdets(quick, own):
    found, wanted = (
        sampled(kind, num=1000, pos_fraction=0.5, add_gt_as_proposals=own)
        for kind in (QuickRandomSampler, RandomSampler)
    )
    # In another order.
    order = found.pos_inds.argsort()
    found.neg_inds, found.neg_priors = found.neg_inds.sort().values, wanted.neg_priors
    for name in DRAWN:
        one = getattr(found, name)
        one = one[order] if name.startswith('pos') else one
        torch.testing.assert_close(one, getattr(wanted, name), rtol=0, atol=0, msg=name)


@pytest.mark.parametrize(
    'settings',
    [
        {},
        dict(num=8, pos_fraction=1.0),
        dict(pos_fraction=0.0),
        dict(neg_pos_ub=2),
        dict(neg_pos_ub=0),
        dict(true=0),
        dict(others=5),
        dict(others=0),
        dict(others=0, true=0),
        dict(true=0, neg_pos_ub=3),
    ],
)
def test_as_many_are_drawn_as_by_mmdet(quick, settings):
    found, wanted = (sampled(kind, **settings) for kind in (QuickRandomSampler, RandomSampler))
    matched = MaxIoUAssigner(pos_iou_thr=0.5, neg_iou_thr=0.4).assign(
        *image(settings.get('others', 400), settings.get('true', 9))
    )
    matched.add_gt_(torch.arange(settings.get('true', 9)))
    for kind, wrong in (('pos_inds', matched.gt_inds <= 0), ('neg_inds', matched.gt_inds != 0)):
        drawn = getattr(found, kind)
        assert len(drawn) == len(getattr(wanted, kind)) == len(drawn.unique())
        assert not wrong[drawn].any()
    assert found.avg_factor == wanted.avg_factor


def test_any_one_is_drawn_as_often_as_another(quick):
    torch.manual_seed(0)
    sampler, drawn = QuickRandomSampler(num=16, pos_fraction=0.5), Counter()
    (priors, truth), rounds = image(), 2000
    matched = MaxIoUAssigner(pos_iou_thr=0.9, neg_iou_thr=0.9).assign(priors, truth)
    for _ in range(rounds):
        drawn.update(sampler.sample(matched, priors, truth).neg_inds.tolist())
        # It adds the true boxes to those that are matched.
        matched.gt_inds, matched.labels = matched.gt_inds[9:], matched.labels[9:]
    counts = torch.tensor(list(drawn.values())).float()
    expected = counts.sum() / len(counts)
    assert len(counts) > 300
    # Of some hundreds of binomial numbers none is further off than five deviations.
    assert (counts - expected).abs().max() < 5 * expected**0.5


def test_an_images_draw_is_its_own(quick):
    """Whatever other images there are, and whatever was drawn before."""
    sampler = QuickRandomSampler(num=16, pos_fraction=0.5)

    def draw(keys):
        samples = [DetDataSample(metainfo={DRAW: key}) for key in keys]
        with sampling_by_image([sampler], samples):
            found = []
            for _ in keys:
                priors, truth = image()
                matched = MaxIoUAssigner(pos_iou_thr=0.5, neg_iou_thr=0.4).assign(priors, truth)
                found.append(sampler.sample(matched, priors, truth).neg_inds)
            return found

    first = draw([(1, 2), (3, 4)])
    torch.rand(5)
    second = draw([(3, 4), (1, 2), (5, 6)])
    assert torch.equal(first[0], second[1])
    assert torch.equal(first[1], second[0])
    assert not torch.equal(first[0], first[1])


def test_which_parts_become_quick():
    class Other(RandomSampler):
        """Draws in its own way."""

    def parts():
        return [
            MaxIoUAssigner(0.5, 0.5),
            RandomSampler(8, 0.5),
            ATSSAssigner(9),
            Other(8, 0.5),
            InstanceBalancedPosSampler(8, 0.5),
        ]

    model = nn.Sequential(nn.Module(), nn.Module())
    model[0].assigner, model[0].sampler, *model[0].others = parts()
    model[1].bbox_assigner = parts()
    quicken_matching(model)
    expected = [QuickMaxIoUAssigner, QuickRandomSampler, ATSSAssigner, Other]
    expected.append(InstanceBalancedPosSampler)
    found = [model[0].assigner, model[0].sampler, *model[0].others]
    assert [type(part) for part in found] == expected
    assert [type(part) for part in model[1].bbox_assigner] == expected
