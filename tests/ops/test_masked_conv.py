"""Masked convolution against an ordinary one."""

import pytest
import torch
from mmcv.ops import MaskedConv2d


@pytest.mark.parametrize(
    ('kernel', 'padding'),
    [
        (1, 0),
        (3, 1),
        # Height and width are not mixed up.
        ((3, 5), (1, 2)),
    ],
)
def test_chosen_places_equal_the_convolution_and_others_are_zero(kernel, padding):
    layer = MaskedConv2d(3, 2, kernel, padding=padding)
    image = torch.randn(1, 3, 5, 6)
    mask = torch.rand(1, 5, 6) - 0.5
    with torch.no_grad():
        expected = layer(image) * (mask > 0)
        torch.testing.assert_close(layer(image, mask), expected)


def test_no_place_and_one_place():
    layer = MaskedConv2d(1, 1, 3, padding=1, bias=True)
    image, mask = torch.arange(9.0).view(1, 1, 3, 3), torch.zeros(1, 3, 3)
    with torch.no_grad():
        assert not layer(image, mask).any()
        # All ones, no bias, the first corner: the sum of cells 0, 1, 3 and 4.
        layer.weight.fill_(1)
        layer.bias.zero_()
        mask[0, 0, 0] = 1
        assert layer(image, mask).flatten().tolist() == [8.0] + [0.0] * 8
