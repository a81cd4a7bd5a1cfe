"""The maps of torchvision's classification networks, family by family."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from ssod.models import torchvision_maps
from ssod.models.torchvision_backbone import TorchvisionBackbone

from .conftest import images

Read = Callable[[Tensor], Tensor]


def as_it_is(x: Tensor) -> Tensor:
    return x


def channels_first(x: Tensor) -> Tensor:
    return x.permute(0, 3, 1, 2)


def rectified(x: Tensor) -> Tensor:
    return x.relu()


# The smallest network of each family; for each stride the module whose output the map must equal.
FAMILIES: list[tuple[str, dict[int, tuple[str, int, Read]]]] = [
    # The end of each stage, not the first convolution of the next one, which has the same stride.
    (
        'resnet18',
        {
            4: ('layer1', 64, as_it_is),
            8: ('layer2', 128, as_it_is),
            16: ('layer3', 256, as_it_is),
            32: ('layer4', 512, as_it_is),
        },
    ),
    # As above with bottlenecks, whose first convolution is not strided.
    ('resnext50_32x4d', {8: ('layer2', 512, as_it_is), 16: ('layer3', 1024, as_it_is)}),
    # The narrow end of a block, not the wide inside of the next; at the end the last layer.
    (
        'mobilenet_v2',
        {
            8: ('features.6', 32, as_it_is),
            16: ('features.13', 96, as_it_is),
            32: ('features.18', 1280, as_it_is),
        },
    ),
    # Squeeze and excitation multiplies by a 1 x 1 map, which is none of any stride.
    (
        'mobilenet_v3_small',
        {
            8: ('features.3', 24, as_it_is),
            16: ('features.8', 48, as_it_is),
            32: ('features.12', 576, as_it_is),
        },
    ),
    (
        'efficientnet_b0',
        {
            8: ('features.3', 40, as_it_is),
            16: ('features.5', 112, as_it_is),
            32: ('features.8', 1280, as_it_is),
        },
    ),
    ('efficientnet_v2_s', {8: ('features.3', 64, as_it_is), 16: ('features.5', 160, as_it_is)}),
    # Parameters used outside of any layer (layer_scale).
    (
        'convnext_tiny',
        {
            4: ('features.1', 96, as_it_is),
            8: ('features.3', 192, as_it_is),
            16: ('features.5', 384, as_it_is),
            32: ('features.7', 768, as_it_is),
        },
    ),
    (
        'regnet_x_400mf',
        {
            8: ('trunk_output.block2', 64, as_it_is),
            16: ('trunk_output.block3', 160, as_it_is),
            32: ('trunk_output.block4', 400, as_it_is),
        },
    ),
    (
        'shufflenet_v2_x0_5',
        {
            8: ('stage2', 48, as_it_is),
            16: ('stage3', 96, as_it_is),
            32: ('conv5', 1024, as_it_is),
        },
    ),
    # Ends with a function that is no module.
    (
        'densenet121',
        {
            8: ('features.denseblock2', 512, as_it_is),
            16: ('features.denseblock3', 1024, as_it_is),
            32: ('features', 1024, rectified),
        },
    ),
    (
        'mnasnet0_5',
        {
            8: ('layers.9', 24, as_it_is),
            16: ('layers.11', 48, as_it_is),
            32: ('layers.16', 1280, as_it_is),
        },
    ),
    # One flat row of layers.
    ('vgg11', {8: ('features.14', 512, as_it_is), 16: ('features.19', 512, as_it_is)}),
    # Convolutions without padding: maps are smaller than size / stride. A classifier of maps.
    (
        'squeezenet1_1',
        {
            4: ('features.4', 128, as_it_is),
            8: ('features.7', 256, as_it_is),
            16: ('features.12', 512, as_it_is),
        },
    ),
    # Channels last, but for the end.
    (
        'swin_t',
        {
            4: ('features.1', 96, channels_first),
            8: ('features.3', 192, channels_first),
            16: ('features.5', 384, channels_first),
            32: ('permute', 768, as_it_is),
        },
    ),
    # Auxiliary classifiers in train mode alone, and inputs transformed by functions.
    (
        'googlenet',
        {
            8: ('inception3b', 480, as_it_is),
            16: ('inception4e', 832, as_it_is),
            32: ('inception5b', 1024, as_it_is),
        },
    ),
]


def whole_network(backbone: TorchvisionBackbone) -> nn.Module:
    """torchvision's own network with the backbone's weights, and anything in its classifier."""
    network = copy.deepcopy(torchvision_maps._skeleton(backbone.arch)).to_empty(device='cpu')
    state = network.state_dict()
    for key, value in backbone.state_dict().items():
        state[key].copy_(value)
    return network.eval()


@pytest.mark.parametrize(('arch', 'expected'), FAMILIES, ids=[row[0] for row in FAMILIES])
def test_maps_equal_the_outputs_of_the_whole_network(
    arch: str, expected: dict[int, tuple[str, int, Read]]
) -> None:
    backbone = TorchvisionBackbone(arch, out_strides=list(expected)).eval()
    network = whole_network(backbone)
    seen = {}
    for stride, (name, _, _) in expected.items():

        def keep(module: nn.Module, given: object, out: Tensor, stride: int = stride) -> None:
            seen[stride] = out.clone()

        network.get_submodule(name).register_forward_hook(keep)

    with torch.no_grad():
        network(images())
        maps = backbone(images())

    assert backbone.out_channels == tuple(channels for _, channels, _ in expected.values())
    for (stride, (_, channels, read)), found in zip(expected.items(), maps, strict=True):
        torch.testing.assert_close(found, read(seen[stride]))
        assert found.shape[:2] == (2, channels)


@pytest.mark.parametrize('arch', [row[0] for row in FAMILIES])
def test_every_parameter_takes_part_in_training(arch: str) -> None:
    # Up to stride 16 only: what is behind must be gone, as the classifier is.
    backbone = TorchvisionBackbone(arch, out_strides=(8, 16)).train()
    sum(m.square().sum() for m in backbone(images())).backward()
    assert [name for name, p in backbone.named_parameters() if p.grad is None] == []


def test_tracing_leaves_the_random_state_alone() -> None:
    # The teacher's build finds everything traced, the student's does not; both must be the same.
    # RegNet is the one family that is built with numbers even for tracing.
    for cached in ('_skeleton', 'feature_maps', 'map_program'):
        getattr(torchvision_maps, cached).cache_clear()
    torch.manual_seed(7)
    first = TorchvisionBackbone('regnet_x_400mf').state_dict()
    torch.manual_seed(7)
    second = TorchvisionBackbone('regnet_x_400mf').state_dict()
    assert all(torch.equal(first[key], second[key]) for key in second)


class Dropping(nn.Module):
    """A network that drops everything in train mode, by a function that must be told the mode."""

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.dropout(nn.functional.max_pool2d(x, 2), 1.0, self.training)


def test_functions_know_train_mode_from_eval_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torchvision_maps, 'build_network', lambda arch: Dropping())
    program = torchvision_maps.map_program('dropping', (2,))
    network = Dropping()
    assert program(network.train(), images())[0].sum() == 0
    assert program(network.eval(), images())[0].sum() > 0


class Windows(nn.Module):
    """A network with windows for one image size, as MaxViT has, which is slow to trace."""

    def forward(self, x: Tensor) -> Tensor:
        return x.reshape(1, 3, 7, 32, 7, 32)


def test_networks_for_one_image_size_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torchvision_maps, 'build_network', lambda arch: Windows())
    with pytest.raises(ValueError, match=r'^windows cannot be a backbone, .*\(shape .*resnet50'):
        torchvision_maps.feature_maps('windows')
