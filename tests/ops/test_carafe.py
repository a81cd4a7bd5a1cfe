"""Content-aware upsampling against loops over single cells."""

import pytest
import torch
from mmcv.ops import carafe, carafe_naive


def _upsample(features, masks, kernel, groups, scale):
    images, channels, height, width = features.shape
    rows = []
    for n in range(images):
        for c in range(channels):
            group = c // (channels // groups)
            for y in range(height * scale):
                for x in range(width * scale):
                    total = 0 * features[0, 0, 0, 0]
                    for i in range(kernel):
                        for j in range(kernel):
                            row = y // scale + i - kernel // 2
                            column = x // scale + j - kernel // 2
                            if 0 <= row < height and 0 <= column < width:
                                mask = masks[n, (group * kernel + i) * kernel + j, y, x]
                                total = total + mask * features[n, c, row, column]
                    rows.append(total)
    return torch.stack(rows).view(images, channels, height * scale, width * scale)


@pytest.mark.parametrize('upsample', [carafe, carafe_naive])
def test_no_image_and_one_cell(upsample):
    assert upsample(torch.zeros(0, 2, 3, 3), torch.zeros(0, 9, 6, 6), 3, 1, 2).numel() == 0
    # The kernel's middle is the only position inside the map.
    masks = torch.full((1, 9, 2, 2), 7.0)
    masks[0, 4] = torch.tensor([[1.0, 2], [3, 4]])
    output = upsample(torch.full((1, 1, 1, 1), 10.0), masks, 3, 1, 2)
    assert output.tolist() == [[[[10.0, 20.0], [30.0, 40.0]]]]


@pytest.mark.parametrize(
    ('kernel', 'groups', 'scale'), [(3, 1, 2), (5, 2, 2), (3, 4, 1), (1, 1, 3)]
)
def test_value_and_gradients_equal_the_loop(kernel, groups, scale):
    generator = torch.Generator().manual_seed(0)
    features, masks = (
        torch.randn(shape, dtype=torch.double, generator=generator).requires_grad_()
        for shape in ((2, 4, 2, 3), (2, groups * kernel**2, 2 * scale, 3 * scale))
    )
    ours = carafe(features, masks, kernel, groups, scale)
    theirs = _upsample(features, masks, kernel, groups, scale)
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(carafe_naive(features, masks, kernel, groups, scale), theirs)
    direction = torch.randn_like(ours)
    grads = torch.autograd.grad(ours, (features, masks), direction)
    expected = torch.autograd.grad(theirs, (features, masks), direction)
    for grad, wanted in zip(grads, expected, strict=True):
        torch.testing.assert_close(grad, wanted)


def test_gradcheck_and_half_precision():
    features = torch.randn(1, 2, 2, 2, dtype=torch.double, requires_grad=True)
    masks = torch.randn(1, 9, 4, 4, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, m: carafe(x, m, 3, 1, 2), (features, masks))
    half = features.detach().bfloat16().requires_grad_()
    output = carafe(half, masks.bfloat16(), 3, 1, 2)
    expected = carafe(half.detach().float(), masks.bfloat16().float(), 3, 1, 2)
    assert torch.equal(output, expected.bfloat16())
    output.sum().backward()
    assert half.grad.dtype == torch.bfloat16
