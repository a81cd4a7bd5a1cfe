"""Deformable RoI pooling against loops over single samples."""

import math

import pytest
import torch
from mmcv.ops import deform_roi_pool

from ssod.ops import deform_roi_pool as served

ROIS = [
    [1, 2.0, 3.0, 13.0, 17.5],
    [0, -9.0, -7.0, 6.0, 5.0],
    [0, 100.0, 100.0, 120.0, 130.0],
    [0, 0.0, 0.0, 28.0, 20.0],
]


def _sample(plane, y, x):
    """Bilinear sample of (C, H, W); up to one cell outside is the border."""
    height, width = plane.shape[1:]
    if y < -1 or y > height or x < -1 or x > width:
        return torch.zeros_like(plane[:, 0, 0])
    y, x = y.clamp(0, height - 1), x.clamp(0, width - 1)
    total = 0
    for row, row_weight in ((int(y), 1 - (y - int(y))), (int(y) + 1, y - int(y))):
        for column, column_weight in ((int(x), 1 - (x - int(x))), (int(x) + 1, x - int(x))):
            if row < height and column < width:
                total = total + row_weight * column_weight * plane[:, row, column]
    return total


def _pool(image, rois, offset, bins, scale, ratio, gamma):
    rows = []
    for r, (index, *box) in enumerate(rois.tolist()):
        x1, y1, x2, y2 = (value * scale - 0.5 for value in box)
        width, height = x2 - x1, y2 - y1
        across = ratio or math.ceil(width / bins[1])
        down = ratio or math.ceil(height / bins[0])
        for p in range(bins[0]):
            for q in range(bins[1]):
                right = gamma * width * offset[r, 0, p, q]
                below = gamma * height * offset[r, 1, p, q]
                total = 0
                for i in range(down):
                    for j in range(across):
                        y = y1 + below + (p + (i + 0.5) / down) * height / bins[0]
                        x = x1 + right + (q + (j + 0.5) / across) * width / bins[1]
                        total = total + _sample(image[int(index)], y, x) / (down * across)
                rows.append(total)
    return torch.stack(rows).view(len(rois), *bins, -1).permute(0, 3, 1, 2)


def _operands(bins):
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(2, 3, 5, 7, dtype=torch.double, generator=generator)
    offset = 0.5 * torch.randn(len(ROIS), 2, *bins, dtype=torch.double, generator=generator)
    return image.requires_grad_(), torch.tensor(ROIS).double(), offset.requires_grad_()


def test_no_region():
    image = torch.randn(1, 2, 4, 4, requires_grad=True)
    pooled = deform_roi_pool(image, torch.zeros(0, 5), torch.zeros(0, 2, 2, 2), (2, 2))
    assert pooled.shape == (0, 2, 2, 2)
    pooled.sum().backward()
    assert not image.grad.any()


def test_one_bin_by_hand():
    # The middle of cell (1, 1) of rows of 4, shifted right by 0.5 * the width of 2.
    image, roi = torch.arange(16.0).view(1, 1, 4, 4), torch.tensor([[0.0, 0.5, 0.5, 2.5, 2.5]])
    assert deform_roi_pool(image, roi, None, (1, 1), 1.0, 1).item() == 5.0
    offset = torch.tensor([1.0, 0.0]).view(1, 2, 1, 1)
    assert deform_roi_pool(image, roi, offset, (1, 1), 1.0, 1, 0.5).item() == 6.0


@pytest.mark.parametrize('in_chunks', [False, True])
@pytest.mark.parametrize('ratio', [0, 2])
@pytest.mark.parametrize('bins', [(2, 3), (1, 1)])
def test_value_and_gradients_equal_the_loop(bins, ratio, in_chunks, monkeypatch):
    if in_chunks:
        monkeypatch.setattr(served, '_CHUNK_CELLS', 1)
    image, rois, offset = _operands(bins)
    ours = deform_roi_pool(image, rois, offset, bins, 0.25, ratio, 0.1)
    theirs = _pool(image, rois, offset, bins, 0.25, ratio, 0.1)
    torch.testing.assert_close(ours, theirs)
    direction = torch.randn_like(ours)
    grads = torch.autograd.grad(ours, (image, offset), direction)
    expected = torch.autograd.grad(theirs, (image, offset), direction)
    for grad, wanted in zip(grads, expected, strict=True):
        torch.testing.assert_close(grad, wanted)


def test_without_offset_only_the_map_gets_a_gradient():
    image, rois, offset = _operands((2, 2))
    ours = deform_roi_pool(image, rois, None, (2, 2), 0.25, 0, 0.1)
    theirs = _pool(image, rois, torch.zeros_like(offset), (2, 2), 0.25, 0, 0.1)
    torch.testing.assert_close(ours, theirs)
    grads = [torch.autograd.grad(pooled.square().sum(), image)[0] for pooled in (ours, theirs)]
    torch.testing.assert_close(*grads)


def test_gradcheck_and_half_precision():
    image, rois, offset = _operands((2, 2))
    leaves = (image, offset[:2].detach().requires_grad_())
    assert torch.autograd.gradcheck(
        lambda x, o: deform_roi_pool(x, rois[:2], o, (2, 2), 0.25, 2, 0.1), leaves
    )
    half = image.detach().bfloat16().requires_grad_()
    pooled = deform_roi_pool(half, rois.bfloat16(), offset.bfloat16(), (2, 2), 0.25, 2, 0.1)
    assert pooled.dtype == torch.bfloat16
    pooled.sum().backward()
    assert half.grad.dtype == torch.bfloat16
