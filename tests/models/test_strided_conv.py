"""Convolutions with a stride, in bfloat16 on a CPU."""

import copy

import pytest
import torch
from torch import nn

from ssod.models.strided_conv import StridedConv2d, mend_strided


def both(groups=4):
    """A convolution, and the same mended."""
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Conv2d(4, 4, 3, stride=2, padding=1, groups=groups))
    mended = copy.deepcopy(plain)
    mend_strided(mended)
    return plain, mended


@pytest.mark.parametrize(
    ('conv', 'is_mended'),
    [
        (nn.Conv2d(4, 4, 3, stride=2, groups=4), True),
        (nn.Conv2d(4, 4, 3, stride=2), True),
        # No stride; a kernel of 1; another class may do other things.
        (nn.Conv2d(4, 4, 3, groups=4), False),
        (nn.Conv2d(4, 4, 1, stride=2), False),
        (nn.Conv1d(4, 4, 3, stride=2, groups=4), False),
    ],
)
def test_which_convolutions_are_mended(conv, is_mended):
    mend_strided(conv)
    assert isinstance(conv, StridedConv2d) is is_mended


@pytest.mark.parametrize('width', [1, 2, 5])
@pytest.mark.parametrize('groups', [1, 2])
def test_maps_narrower_than_the_stride_have_a_gradient(width, groups):
    plain, mended = both(groups)
    for _ in range(10):
        maps = torch.randn(2, 4, 4, width)
        with torch.autocast('cpu', torch.bfloat16):
            out, usual = mended(maps), plain(maps)
        expected = plain(maps)
        # In float32 only where it has to be; these are not depthwise.
        assert torch.equal(out, expected.bfloat16() if width == 1 else usual)
        grad = torch.randn_like(out)
        (found,) = torch.autograd.grad(out, mended[0].weight, grad)
        (right,) = torch.autograd.grad(expected, plain[0].weight, grad.float())
        torch.testing.assert_close(found, right, rtol=0.05, atol=0.05)


def test_nothing_changes_in_single_precision():
    plain, mended = both()
    image = torch.randn(2, 4, 6, 6)
    assert plain.state_dict().keys() == mended.state_dict().keys()
    assert torch.equal(plain(image), mended(image))


def test_autocast_gets_its_type_of_what_is_computed_in_single_precision():
    plain, mended = both()
    image = torch.randn(2, 4, 6, 6)
    with torch.autocast('cpu', torch.bfloat16):
        out = mended(image)
    expected = plain(image)
    assert torch.equal(out, expected.bfloat16())
    # Of the gradient too, but for what goes into it.
    grad = torch.randn_like(out)
    (of_mended,) = torch.autograd.grad(out, mended[0].weight, grad)
    (of_plain,) = torch.autograd.grad(expected, plain[0].weight, grad.float())
    assert torch.equal(of_mended, of_plain)


def test_without_a_gradient_autocast_has_its_way():
    plain, mended = both()
    image = torch.randn(2, 4, 6, 6)
    with torch.autocast('cpu', torch.bfloat16):
        with torch.no_grad():
            assert torch.equal(mended(image), plain(image))
        plain.requires_grad_(False)
        mended.requires_grad_(False)
        assert torch.equal(mended(image), plain(image))
