"""Multi-scale deformable attention against loops over single samples."""

import pytest
import torch
from mmcv.ops.multi_scale_deform_attn import MultiScaleDeformableAttnFunction

SHAPES = [(3, 4), (2, 1)]
HEADS, DEPTH, POINTS = 2, 3, 2


def _sample(plane, y, x):
    """Bilinear sample of (H, W, D) at cell coordinates, zeros outside."""
    top, left = y.floor(), x.floor()
    total = 0
    for row, row_weight in ((top, 1 - (y - top)), (top + 1, y - top)):
        for column, column_weight in ((left, 1 - (x - left)), (left + 1, x - left)):
            if 0 <= row < plane.shape[0] and 0 <= column < plane.shape[1]:
                total = total + row_weight * column_weight * plane[int(row), int(column)]
    return total


def _attend(value, locations, weights):
    batch, queries = locations.shape[:2]
    rows = []
    for b in range(batch):
        for q in range(queries):
            for m in range(HEADS):
                total = torch.zeros(DEPTH, dtype=value.dtype)
                begin = 0
                for level, (height, width) in enumerate(SHAPES):
                    plane = value[b, begin : begin + height * width, m]
                    plane = plane.view(height, width, DEPTH)
                    begin += height * width
                    for p in range(POINTS):
                        x, y = locations[b, q, m, level, p]
                        sample = _sample(plane, y * height - 0.5, x * width - 0.5)
                        total = total + weights[b, q, m, level, p] * sample
                rows.append(total)
    return torch.stack(rows).view(batch, queries, HEADS * DEPTH)


def _operands(batch, queries):
    generator = torch.Generator().manual_seed(0)
    cells = sum(height * width for height, width in SHAPES)
    points = (batch, queries, HEADS, len(SHAPES), POINTS)
    value = torch.randn(batch, cells, HEADS, DEPTH, dtype=torch.double, generator=generator)
    # Some of the samples lie outside the maps.
    locations = torch.rand(*points, 2, dtype=torch.double, generator=generator) * 1.4 - 0.2
    weights = torch.rand(points, dtype=torch.double, generator=generator)
    return [tensor.requires_grad_() for tensor in (value, locations, weights)]


def _served(value, locations, weights):
    shapes = torch.tensor(SHAPES)
    start = torch.tensor([0, SHAPES[0][0] * SHAPES[0][1]])
    return MultiScaleDeformableAttnFunction.apply(value, shapes, start, locations, weights, 64)


def test_no_query():
    value, locations, weights = _operands(2, 0)
    output = _served(value, locations, weights)
    assert output.shape == (2, 0, HEADS * DEPTH)
    output.sum().backward()
    assert not value.grad.any()


def test_one_sample_by_hand():
    # Only the first point counts, in the middle of cell (1, 2) of the first level.
    value, locations, weights = (tensor.detach() for tensor in _operands(1, 1))
    weights.zero_()[..., 0, 0] = 0.5
    locations[..., 0, 0, :] = torch.tensor([2.5 / 4, 1.5 / 3])
    expected = 0.5 * value[0, 1 * 4 + 2].flatten()
    torch.testing.assert_close(_served(value, locations, weights)[0, 0], expected)


def test_value_and_gradients_equal_the_loop():
    operands = _operands(2, 5)
    ours, theirs = _served(*operands), _attend(*operands)
    torch.testing.assert_close(ours, theirs)
    direction = torch.randn_like(ours)
    grads = torch.autograd.grad(ours, operands, direction)
    expected = torch.autograd.grad(theirs, operands, direction)
    for grad, wanted in zip(grads, expected, strict=True):
        torch.testing.assert_close(grad, wanted)


def test_gradcheck():
    assert torch.autograd.gradcheck(_served, _operands(1, 2))


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_single(dtype):
    value, locations, weights = (tensor.detach().to(dtype) for tensor in _operands(1, 3))
    value.requires_grad_()
    with torch.autocast('cpu', torch.bfloat16):
        output = _served(value, locations, weights)
    expected = _served(value.detach().float(), locations.float(), weights.float())
    assert torch.equal(output, expected.to(dtype))
    output.sum().backward()
    assert value.grad.dtype == dtype
