"""Deformable convolutions against a sum over kernel positions of sampled maps."""

import pytest
import torch
from mmcv.ops import ModulatedDeformConv2d, deform_conv2d, modulated_deform_conv2d
from torch.nn import functional


def _sample(image, y, x):
    """Bilinear samples (N, C, h, w) at (N, h, w), zeros outside."""
    height, width = image.shape[2:]
    total = 0
    for row, row_weight in ((y.floor(), 1 - (y - y.floor())), (y.floor() + 1, y - y.floor())):
        for col, col_weight in ((x.floor(), 1 - (x - x.floor())), (x.floor() + 1, x - x.floor())):
            inside = (row >= 0) & (row < height) & (col >= 0) & (col < width)
            flat = (row.clamp(0, height - 1) * width + col.clamp(0, width - 1)).long()
            flat = flat.flatten(1)[:, None].expand(-1, image.shape[1], -1)
            values = image.flatten(2).gather(2, flat).view(*image.shape[:2], *y.shape[1:])
            total = total + (row_weight * col_weight * inside)[:, None] * values
    return total


def _convolve(image, offset, mask, weight, stride, padding, dilation, groups, deform_groups):
    """One sampled map for each kernel position, then an ordinary product."""
    _, _, kernel_h, kernel_w = weight.shape
    height, width = offset.shape[2:]
    rows = torch.arange(height, dtype=image.dtype)[:, None] * stride[0] - padding[0]
    columns = torch.arange(width, dtype=image.dtype)[None] * stride[1] - padding[1]
    parts = []
    for g, channels in enumerate(image.chunk(deform_groups, 1)):
        taps = []
        for i in range(kernel_h):
            for j in range(kernel_w):
                at = (g * kernel_h + i) * kernel_w + j
                y = rows + i * dilation[0] + offset[:, 2 * at]
                x = columns + j * dilation[1] + offset[:, 2 * at + 1]
                taps.append(_sample(channels, y, x) * mask[:, at, None])
        parts.append(torch.stack(taps, 2))
    sampled = torch.cat(parts, 1).chunk(groups, 1)
    products = [
        torch.einsum('nckhw,ock->nohw', part, kernel.flatten(2))
        for part, kernel in zip(sampled, weight.chunk(groups), strict=True)
    ]
    return torch.cat(products, 1)


# stride, padding, dilation, groups, deformable groups
GEOMETRIES = [
    # The plain one.
    ((1, 1), (1, 1), (1, 1), 1, 1),
    # Height and width are not mixed up.
    ((2, 1), (0, 2), (1, 2), 1, 1),
    # Groups of the product and groups of the offsets are different things.
    ((1, 1), (1, 1), (1, 1), 2, 1),
    ((1, 1), (1, 1), (1, 1), 1, 2),
    ((1, 2), (1, 0), (2, 1), 2, 4),
]


def _operands(stride, padding, dilation, groups, deform_groups, kernel=(3, 2), images=2):
    generator = torch.Generator().manual_seed(0)
    out = [
        (size + 2 * padding[d] - dilation[d] * (kernel[d] - 1) - 1) // stride[d] + 1
        for d, size in enumerate((6, 7))
    ]
    positions = deform_groups * kernel[0] * kernel[1]
    shapes = [
        (images, 4, 6, 7),
        (images, 2 * positions, *out),
        (images, positions, *out),
        (6, 4 // groups, *kernel),
        (6,),
    ]
    return [
        torch.randn(shape, dtype=torch.double, generator=generator).requires_grad_()
        for shape in shapes
    ]


def _same_gradients(ours, theirs, operands):
    torch.testing.assert_close(ours, theirs)
    direction = torch.randn_like(ours)
    grads = torch.autograd.grad(ours, operands, direction)
    expected = torch.autograd.grad(theirs, operands, direction)
    for grad, wanted in zip(grads, expected, strict=True):
        torch.testing.assert_close(grad, wanted)


@pytest.mark.parametrize('geometry', GEOMETRIES)
def test_v1_equals_the_sum_over_positions(geometry):
    image, offset, mask, weight, _ = _operands(*geometry)
    ours = deform_conv2d(image, offset, weight, *geometry)
    theirs = _convolve(image, offset, torch.ones_like(mask), weight, *geometry)
    _same_gradients(ours, theirs, [image, offset, weight])


@pytest.mark.parametrize('geometry', GEOMETRIES)
def test_v2_equals_the_sum_over_positions(geometry):
    image, offset, mask, weight, bias = _operands(*geometry)
    ours = modulated_deform_conv2d(image, offset, mask, weight, bias, *geometry)
    theirs = _convolve(image, offset, mask, weight, *geometry) + bias[:, None, None]
    _same_gradients(ours, theirs, [image, offset, mask, weight, bias])


def test_v2_reads_the_first_values_of_larger_offsets():
    # mmdet's DyHead passes offsets of a finer level; mmcv's kernels read their memory on.
    geometry = GEOMETRIES[0]
    image, offset, mask, weight, bias = _operands(*geometry)
    height, width = offset.shape[2:]
    finer = [
        torch.randn(*tensor.shape[:2], 2 * height, 2 * width, dtype=torch.double).requires_grad_()
        for tensor in (offset, mask)
    ]
    ours = modulated_deform_conv2d(image, *finer, weight, bias, *geometry)
    read = [
        torch.stack([one.reshape(-1)[: one.numel() // 4].view(-1, height, width) for one in tensor])
        for tensor in finer
    ]
    theirs = _convolve(image, *read, weight, *geometry) + bias[:, None, None]
    _same_gradients(ours, theirs, [image, *finer, weight, bias])


def test_without_bias_and_without_offset_it_is_a_convolution():
    image, weight = torch.randn(3, 4, 6, 7), torch.randn(2, 4, 3, 3, requires_grad=True)
    offset, mask = torch.zeros(3, 18, 6, 7), torch.ones(3, 9, 6, 7)
    ours = modulated_deform_conv2d(image, offset, mask, weight, None, 1, 1)
    _same_gradients(ours, functional.conv2d(image, weight, padding=1), [weight])


@pytest.mark.parametrize('trained', ['weight', 'image', 'both', 'both, twice'])
def test_v1_gradients_whatever_is_trained(trained):
    # The weight's gradient is handed from one of v1's two backwards to the other.
    geometry = GEOMETRIES[0]
    image, offset, mask, weight, _ = _operands(*geometry)
    wanted = {'weight': [weight], 'image': [image]}.get(trained, [image, weight])
    for operand in (image, offset, weight):
        operand.requires_grad_(any(operand is one for one in wanted))
    ours = deform_conv2d(image, offset, weight, *geometry)
    theirs = _convolve(image, offset, torch.ones_like(mask), weight, *geometry)
    if trained.endswith('twice'):
        torch.autograd.grad(ours, wanted, torch.randn_like(ours), retain_graph=True)
    _same_gradients(ours, theirs, wanted)


def test_gradcheck():
    image, offset, mask, weight, bias = _operands(*GEOMETRIES[0], kernel=(2, 2), images=1)
    few = (image[:, :, :3, :3], offset[:, :, :4, :4], mask[:, :, :4, :4], weight, bias)
    leaves = [tensor.detach().clone().requires_grad_() for tensor in few]
    assert torch.autograd.gradcheck(
        lambda *tensors: modulated_deform_conv2d(*tensors, 1, 1), leaves, fast_mode=True
    )
    assert torch.autograd.gradcheck(
        lambda image, offset, _, weight, __: deform_conv2d(image, offset, weight, 1, 1),
        leaves,
        fast_mode=True,
    )


def test_one_cell_by_hand():
    # A kernel of one cell, moved one row down and half a column right: the mean of two
    # neighbours in the next row of 4, and half of the last one at the edge; below: 0.
    image = torch.arange(16.0).view(1, 1, 4, 4)
    offset = torch.tensor([1.0, 0.5]).view(1, 2, 1, 1).expand(1, 2, 4, 4).contiguous()
    output = deform_conv2d(image, offset, torch.ones(1, 1, 1, 1))
    assert output[0, 0, 0].tolist() == [4.5, 5.5, 6.5, 3.5]
    assert output[0, 0, 3].tolist() == [0.0, 0.0, 0.0, 0.0]
    mask = torch.full((1, 1, 4, 4), 2.0)
    doubled = modulated_deform_conv2d(image, offset, mask, torch.ones(1, 1, 1, 1), torch.ones(1))
    assert torch.equal(doubled, 2 * output + 1)


def test_autocast_keeps_the_type_of_the_offset():
    convolution = ModulatedDeformConv2d(4, 2, 3, padding=1)
    image = torch.randn(1, 4, 5, 5, requires_grad=True)
    offset = torch.randn(1, 18, 5, 5).bfloat16()
    mask = torch.rand(1, 9, 5, 5).bfloat16()
    with torch.autocast('cpu', torch.bfloat16):
        output = convolution(image, offset, mask)
    assert output.dtype == torch.bfloat16
    output.sum().backward()
    assert image.grad.dtype == convolution.weight.grad.dtype == torch.float32
    expected = convolution(image, offset.float(), mask.float())
    torch.testing.assert_close(output.float(), expected, rtol=0.02, atol=0.02)
