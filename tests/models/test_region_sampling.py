"""Regions that are drawn for each image by itself."""

import pytest
import torch
from mmdet.models.task_modules.assigners import AssignResult
from mmdet.models.task_modules.samplers import PseudoSampler, RandomSampler
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData

from ssod.models.region_sampling import region_samplers, sampling_by_image


def sample(*draw):
    return DetDataSample(metainfo={'draw': draw} if draw else {})


def chosen(sampler):
    """Which four of twenty background regions a sampler takes."""
    nothing = torch.zeros(20, dtype=torch.long)
    assigned = AssignResult(1, nothing, torch.zeros(20), nothing)
    regions = InstanceData(priors=torch.arange(80.0).view(20, 4))
    truth = InstanceData(bboxes=torch.zeros(1, 4), labels=torch.zeros(1, dtype=torch.long))
    return sampler.sample(assigned, regions, truth).neg_inds.tolist()


@pytest.fixture
def sampler():
    return RandomSampler(num=4, pos_fraction=0.5, add_gt_as_proposals=False)


ONE, TWO = sample(0, 1, 7), sample(0, 1, 8)


def test_an_image_has_the_same_regions_in_any_batch(sampler):
    with sampling_by_image([sampler], [ONE, TWO]):
        one, two = chosen(sampler), chosen(sampler)
        again = chosen(sampler)
    torch.rand(3)
    with sampling_by_image([sampler], [TWO]):
        alone = chosen(sampler)
    assert alone == two
    assert one == again, 'a head that asks more than once asks in the same order'
    assert one != two


def test_stages_differ(sampler):
    other = RandomSampler(num=4, pos_fraction=0.5, add_gt_as_proposals=False)
    with sampling_by_image([sampler, other], [ONE]):
        assert chosen(sampler) != chosen(other)


def test_nothing_else_is_disturbed(sampler):
    torch.manual_seed(0)
    wanted = torch.rand(3)
    torch.manual_seed(0)
    with sampling_by_image([sampler], [ONE]):
        chosen(sampler)
    assert torch.equal(torch.rand(3), wanted)
    assert 'sample' not in vars(sampler)


@pytest.mark.parametrize('samples', [[], [sample()], [ONE, sample()]])
def test_images_without_a_draw_are_sampled_as_ever(sampler, samples):
    torch.manual_seed(0)
    wanted = chosen(sampler)
    torch.manual_seed(0)
    with sampling_by_image([sampler], samples):
        assert chosen(sampler) == wanted


def test_samplers_of_all_stages_are_found(digits_cfg):
    detector = MODELS.build(digits_cfg.model.detector)
    assert region_samplers(detector) == [
        detector.rpn_head.sampler,
        detector.roi_head.bbox_sampler,
    ]
    detector.roi_head.bbox_sampler = [detector.roi_head.bbox_sampler] * 2 + [PseudoSampler()]
    assert len(region_samplers(detector)) == 2
