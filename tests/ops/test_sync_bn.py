"""mmcv's synchronized batch normalization on one rank against torch's own."""

import pytest
import torch
from mmcv.ops.sync_bn import SyncBatchNormFunction
from torch.nn import functional


def _operands(images):
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(images, 3, 2, 4, generator=generator) * 2 + 1
    weight, bias = torch.rand(3, generator=generator), torch.rand(3, generator=generator)
    return [tensor.requires_grad_() for tensor in (image, weight, bias)]


def _served(image, mean, var, weight, bias):
    return SyncBatchNormFunction.apply(
        image, mean, var, weight, bias, 0.1, 1e-5, None, 1, 'default'
    )


@pytest.mark.parametrize('images', [1, 4])
def test_values_statistics_and_gradients(images):
    image, weight, bias = _operands(images)
    mean, var = torch.full((3,), 0.5), torch.full((3,), 2.0)
    expected_mean, expected_var = mean.clone(), var.clone()
    ours = _served(image, mean, var, weight, bias)
    theirs = functional.batch_norm(
        image, expected_mean, expected_var, weight, bias, training=True, momentum=0.1
    )
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(mean, expected_mean)
    torch.testing.assert_close(var, expected_var)
    direction = torch.randn_like(ours)
    grads = torch.autograd.grad(ours, (image, weight, bias), direction)
    expected = torch.autograd.grad(theirs, (image, weight, bias), direction)
    for grad, wanted in zip(grads, expected, strict=True):
        torch.testing.assert_close(grad, wanted)


def test_no_image_leaves_the_statistics():
    image, weight, bias = _operands(0)
    mean, var = torch.full((3,), 0.5), torch.full((3,), 2.0)
    output = SyncBatchNormFunction.apply(image, mean, var, weight, bias, 0.1, 1e-5, None, 1, 'N')
    assert output.shape == (0, 3, 2, 4)
    assert mean.tolist() == [0.5] * 3
    assert var.tolist() == [2.0] * 3


def test_half_precision_keeps_statistics_in_single():
    image, weight, bias = _operands(2)
    mean, var = torch.zeros(3), torch.ones(3)
    output = _served(image.detach().half().requires_grad_(), mean, var, weight, bias)
    assert output.dtype == torch.half
    output.sum().backward()
    assert mean.dtype == weight.grad.dtype == torch.float32
