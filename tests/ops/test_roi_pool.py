"""RoIPool against loops over cells."""

import math

import pytest
import torch
from mmcv.ops import RoIPool


def _pool(image, rois, bins, scale):
    pooled = torch.zeros(len(rois), image.shape[1], *bins, dtype=image.dtype)
    for r, (index, x1, y1, x2, y2) in enumerate(rois.tolist()):
        x1, y1, x2, y2 = x1 * scale, y1 * scale, (x2 + 1) * scale, (y2 + 1) * scale
        if x2 <= x1 or y2 <= y1:
            continue
        for p in range(bins[0]):
            for q in range(bins[1]):
                top = max(math.floor(y1 + p * (y2 - y1) / bins[0]), 0)
                bottom = math.ceil(y1 + (p + 1) * (y2 - y1) / bins[0])
                left = max(math.floor(x1 + q * (x2 - x1) / bins[1]), 0)
                right = math.ceil(x1 + (q + 1) * (x2 - x1) / bins[1])
                cells = image[int(index), :, top : max(bottom, 0), left : max(right, 0)]
                if cells.numel():
                    pooled[r, :, p, q] = cells.flatten(1).max(1).values
    return pooled


def test_no_region():
    image = torch.randn(1, 2, 4, 4, requires_grad=True)
    pooled = RoIPool(2)(image, torch.zeros(0, 5))
    assert pooled.shape == (0, 2, 2, 2)
    pooled.sum().backward()
    assert not image.grad.any()


def test_one_region_by_hand():
    # Cells 1..3 of rows of 4, two bins of 1.5 cells: each takes the cells it touches, so
    # the middle one is in both; the last row wins.
    image = torch.arange(16.0).view(1, 1, 4, 4).requires_grad_()
    pooled = RoIPool((1, 2))(image, torch.tensor([[0.0, 1, 0, 3, 2]]))
    assert pooled.tolist() == [[[[10.0, 11.0]]]]
    pooled.backward(torch.tensor([[[[2.0, 3.0]]]]))
    assert image.grad[0, 0].nonzero().tolist() == [[2, 2], [2, 3]]
    assert image.grad[0, 0, 2].tolist() == [0, 0, 2, 3]


@pytest.mark.parametrize('bins', [(2, 3), (4, 1)])
def test_value_and_gradient_equal_the_loop(bins):
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(2, 3, 5, 7, dtype=torch.double, generator=generator, requires_grad=True)
    # Partly outside, wholly outside, one cell, everything, in pixels at a stride of 4.
    rois = torch.tensor(
        [
            [1, 2, 3, 13, 17],
            [0, -9, -7, 6, 5],
            [0, 90, 90, 99, 99],
            [1, 8, 8, 8, 8],
            [0, 0, 0, 27, 19],
            # Turned inside out, in x and in y.
            [0, 20, 2, 5, 17],
            [0, 2, 17, 13, 3],
        ],
        dtype=torch.double,
    )
    pooled = RoIPool(bins, 0.25)(image, rois)
    expected = _pool(image, rois, bins, 0.25)
    torch.testing.assert_close(pooled, expected)
    weight = torch.randn_like(pooled)
    (grad,) = torch.autograd.grad((pooled * weight).sum(), image)
    (expected_grad,) = torch.autograd.grad((expected * weight).sum(), image)
    torch.testing.assert_close(grad, expected_grad)


def test_gradcheck_and_half_precision():
    image = torch.randn(1, 2, 4, 5, dtype=torch.double, requires_grad=True)
    rois = torch.tensor([[0.0, 0, 1, 3, 3]], dtype=torch.double)
    assert torch.autograd.gradcheck(lambda x: RoIPool(2)(x, rois), image)
    half = image.detach().half().requires_grad_()
    pooled = RoIPool(2)(half, rois.half())
    assert torch.equal(pooled, RoIPool(2)(half.detach().float(), rois.float()).half())
    pooled.sum().backward()
    assert half.grad.dtype == torch.half
