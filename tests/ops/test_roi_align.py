"""RoIAlign, all ways of computing it, against loops over single samples."""

import math

import pytest
import torch
from mmcv.ops import RoIAlign

from ssod.ops import roi_align, separable, weighted_sums

# Regions of image 1 before those of image 0, one outside the map, one of no size, one
# that spans everything, in pixels of a map of 5 x 7 cells at a stride of 4.
ROIS = [
    [1, 2.0, 3.0, 13.0, 17.5],
    [0, -9.0, -7.0, 6.0, 5.0],
    [0, 100.0, 100.0, 120.0, 130.0],
    [1, 8.0, 8.0, 8.0, 8.0],
    [0, 0.0, 0.0, 28.0, 20.0],
    [1, 15.5, 1.0, 31.0, 4.0],
]


def _sample(plane, y, x):
    """Bilinear sample of (C, H, W); up to one cell outside is the border."""
    height, width = plane.shape[1:]
    if y < -1 or y > height or x < -1 or x > width:
        return torch.zeros_like(plane[:, 0, 0])
    y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
    top, left = int(y), int(x)
    total = 0
    for row, row_weight in ((top, 1 - (y - top)), (top + 1, y - top)):
        for column, column_weight in ((left, 1 - (x - left)), (left + 1, x - left)):
            if row_weight and column_weight:
                total = total + row_weight * column_weight * plane[:, row, column]
    return total


def _pool(image, rois, bins, scale, ratio, aligned):
    pooled = torch.zeros(len(rois), image.shape[1], *bins, dtype=image.dtype)
    for r, (index, *box) in enumerate(rois.tolist()):
        x1, y1, x2, y2 = (value * scale - 0.5 * aligned for value in box)
        width, height = x2 - x1, y2 - y1
        if not aligned:
            width, height = max(width, 1), max(height, 1)
        across = ratio or math.ceil(width / bins[1])
        down = ratio or math.ceil(height / bins[0])
        for p in range(bins[0]):
            for q in range(bins[1]):
                for i in range(down):
                    for j in range(across):
                        y = y1 + (p + (i + 0.5) / down) * height / bins[0]
                        x = x1 + (q + (j + 0.5) / across) * width / bins[1]
                        value = _sample(image[int(index)], y, x) / (down * across)
                        pooled[r, :, p, q] = pooled[r, :, p, q] + value
    return pooled


@pytest.fixture(params=['sums', 'separable', 'torchvision'])
def way(request, monkeypatch):
    """Force one way of computing; ``separable`` is one for gradients."""
    cells = 10**9 if request.param == 'separable' else -1
    monkeypatch.setattr(roi_align, 'SEPARABLE_CELLS_PER_POINT', cells)
    if request.param == 'torchvision':
        monkeypatch.setattr(roi_align, 'OWN_DEVICES', set())
    return request.param


@pytest.fixture
def image():
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(2, 3, 5, 7, dtype=torch.double, generator=generator)
    return values.requires_grad_()


def test_no_region_and_no_image(way):
    layer = RoIAlign(2)
    image = torch.randn(2, 3, 5, 7, requires_grad=True)
    pooled = layer(image, torch.zeros(0, 5))
    assert pooled.shape == (0, 3, 2, 2)
    pooled.sum().backward()
    assert not image.grad.any()
    assert layer(torch.randn(0, 3, 5, 7), torch.zeros(0, 5)).shape == (0, 3, 2, 2)


@pytest.mark.parametrize(
    ('roi', 'aligned', 'expected'),
    [
        # One sample in the middle of cell (1, 2) of rows of 4: 1 * 4 + 2.
        ([0, 2, 1, 3, 2], True, 6.0),
        # Unaligned, the same middle lies half a cell further down and right: + 2 + 0.5.
        ([0, 2, 1, 3, 2], False, 8.5),
        # 2 x 2 samples of cells 0, 1, 4 and 5 (a region of 2 x 2 cells).
        ([0, 0, 0, 2, 2], True, 2.5),
        # Half a cell outside counts as the border: cell 0.
        ([0, -1, -1, 1, 1], True, 0.25 * (0 + 0 + 0 + 0)),
        # Further outside: nothing.
        ([0, 9, 9, 10, 10], True, 0.0),
    ],
)
def test_one_bin_by_hand(way, roi, aligned, expected):
    image = torch.arange(16.0).view(1, 1, 4, 4)
    pooled = RoIAlign(1, 1.0, 0, aligned=aligned)(image, torch.tensor([roi]).float())
    assert pooled.item() == pytest.approx(expected)


@pytest.mark.parametrize('aligned', [True, False])
@pytest.mark.parametrize('ratio', [0, 1, 3])
@pytest.mark.parametrize('bins', [(2, 3), (1, 1)])
def test_value_and_gradient_equal_the_loop(way, image, bins, ratio, aligned):
    rois = torch.tensor(ROIS, dtype=torch.double)
    pooled = RoIAlign(bins, 0.25, ratio, aligned=aligned)(image, rois)
    expected = _pool(image, rois, bins, 0.25, ratio, aligned)
    torch.testing.assert_close(pooled, expected)
    weight = torch.randn_like(pooled)
    (grad,) = torch.autograd.grad((pooled * weight).sum(), image)
    (expected_grad,) = torch.autograd.grad((expected * weight).sum(), image)
    torch.testing.assert_close(grad, expected_grad)


def test_the_gradient_reaches_cells_beyond_the_numbers_of_16_bits(way):
    image = torch.zeros(1, 1, 200, 200, requires_grad=True)
    rois = torch.tensor([[0.0, 190, 190, 194, 194]])
    (grad,) = torch.autograd.grad(RoIAlign(2, 1.0, 1, aligned=False)(image, rois).sum(), image)
    # One sample in the middle of each bin, on a cell.
    expected = torch.zeros(200, 200)
    expected[191:194:2, 191:194:2] = 1
    assert torch.equal(grad[0, 0], expected)


@pytest.mark.parametrize(
    ('count', 'dtype'),
    [
        (1, torch.int16),
        (2**15, torch.int16),
        (2**15 + 1, torch.int32),
        (2**31, torch.int32),
        (2**31 + 1, torch.int64),
    ],
)
def test_the_narrowest_type_of_numbers_below_a_count(count, dtype):
    assert weighted_sums._narrowest(count) is dtype


def test_gradcheck(way, image):
    rois = torch.tensor(ROIS[:2], dtype=torch.double)
    assert torch.autograd.gradcheck(lambda x: RoIAlign(2, 0.25, 0)(x, rois), image)


def test_regions_in_chunks_of_one(way, image, monkeypatch):
    rois = torch.tensor(ROIS, dtype=torch.double)
    layer = RoIAlign((2, 3), 0.25, 0)
    whole = layer(image, rois)
    (grad,) = torch.autograd.grad(whole.square().sum(), image)
    monkeypatch.setattr(separable, '_CHUNK_ELEMENTS', 1)
    monkeypatch.setattr(weighted_sums, '_MOST_TERMS', 1)
    monkeypatch.setattr(roi_align, 'REGIONS_AT_ONCE', 1)
    torch.testing.assert_close(layer(image, rois), whole)
    (chunked,) = torch.autograd.grad(layer(image, rois).square().sum(), image)
    torch.testing.assert_close(chunked, grad)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_single(way, dtype):
    image = torch.randn(2, 3, 5, 7).to(dtype).requires_grad_()
    rois = torch.tensor(ROIS).to(dtype)
    layer = RoIAlign(2, 0.25, 0)
    with torch.autocast('cpu', torch.bfloat16):
        pooled = layer(image, rois)
        (grad,) = torch.autograd.grad(pooled.sum(), image)
    single = image.detach().float().requires_grad_()
    expected = layer(single, rois.float())
    assert pooled.dtype == grad.dtype == dtype
    assert torch.equal(pooled, expected.to(dtype))
    assert torch.equal(grad, torch.autograd.grad(expected.sum(), single)[0].to(dtype))


@pytest.mark.parametrize(
    ('side', 'region', 'separable'),
    [
        # Small map.
        (12, 7, True),
        # 50 x 50 cells, one sample a bin.
        (50, 7, False),
        # The same map, regions of 4 x 4 samples a bin.
        (50, 28, True),
        # 200 x 200 cells, 625 for each of the 64 samples.
        (200, 56, False),
    ],
)
def test_the_choice_of_the_way_of_gradients(side, region, separable):
    pooling = roi_align.Pooling(7, 7, 1.0, 0, True)
    rois = torch.tensor([[0.0, 0, 0, region, region]])
    shape = torch.Size((1, 8, side, side))
    assert roi_align._separable(rois, shape, pooling) is separable


@pytest.mark.parametrize('box', [[8, 0, 0, 8], [0, 0, torch.nan, 8], [0, 0, torch.inf, 8]])
@pytest.mark.parametrize('separable', [True, False])
def test_a_region_of_no_finite_or_negative_size_pools_nothing(monkeypatch, box, separable):
    cells = 10**9 if separable else -1
    monkeypatch.setattr(roi_align, 'SEPARABLE_CELLS_PER_POINT', cells)
    rois = torch.tensor([[0.0, 0, 0, 8, 8], [0, *box]])
    image = torch.ones(1, 1, 9, 9, requires_grad=True)
    pooled = RoIAlign(2, 1.0, 0)(image, rois)
    assert pooled[0].unique().tolist() == [1.0]
    assert not pooled[1].any()
    (grad,) = torch.autograd.grad(pooled.sum(), image)
    assert grad.sum() == pytest.approx(4)


def test_the_maximum_is_refused_by_name():
    layer = RoIAlign(2, pool_mode='max')
    with pytest.raises(NotImplementedError, match="roi_align_forward with pool_mode 'max'"):
        layer(torch.randn(1, 1, 4, 4), torch.zeros(1, 5))
