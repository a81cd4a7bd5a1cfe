"""Depthwise convolutions with a stride."""

import copy

import pytest
import torch
from torch import nn

from ssod.models.depthwise import SingleDepthwiseConv2d, quicken_depthwise


def both():
    """A convolution, and the same quickened."""
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Conv2d(4, 4, 3, stride=2, padding=1, groups=4))
    quick = copy.deepcopy(plain)
    quicken_depthwise(quick)
    return plain, quick


@pytest.mark.parametrize(
    ('conv', 'quick'),
    [
        (nn.Conv2d(4, 4, 3, stride=2, groups=4), True),
        # No stride; not depthwise; one channel is no group; another class may do other things.
        (nn.Conv2d(4, 4, 3, groups=4), False),
        (nn.Conv2d(4, 4, 3, stride=2, groups=2), False),
        (nn.Conv2d(1, 4, 3, stride=2), False),
        (nn.Conv1d(4, 4, 3, stride=2, groups=4), False),
    ],
)
def test_which_convolutions_are_quickened(conv, quick):
    quicken_depthwise(conv)
    assert isinstance(conv, SingleDepthwiseConv2d) is quick


def test_nothing_changes_in_single_precision():
    plain, quick = both()
    image = torch.randn(2, 4, 6, 6)
    assert plain.state_dict().keys() == quick.state_dict().keys()
    assert torch.equal(plain(image), quick(image))


def test_autocast_gets_its_type_of_what_is_computed_in_single_precision():
    plain, quick = both()
    image = torch.randn(2, 4, 6, 6)
    with torch.autocast('cpu', torch.bfloat16):
        out = quick(image)
    expected = plain(image)
    assert torch.equal(out, expected.bfloat16())
    # Of the gradient too, but for what goes into it.
    grad = torch.randn_like(out)
    (of_quick,) = torch.autograd.grad(out, quick[0].weight, grad)
    (of_plain,) = torch.autograd.grad(expected, plain[0].weight, grad.float())
    assert torch.equal(of_quick, of_plain)


def test_without_a_gradient_autocast_has_its_way():
    plain, quick = both()
    image = torch.randn(2, 4, 6, 6)
    with torch.autocast('cpu', torch.bfloat16):
        with torch.no_grad():
            assert torch.equal(quick(image), plain(image))
        plain.requires_grad_(False)
        quick.requires_grad_(False)
        assert torch.equal(quick(image), plain(image))
