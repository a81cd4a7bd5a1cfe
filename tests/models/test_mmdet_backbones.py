"""Torchvision backbones as mmdet's own: the same maps from the same weights."""

import pytest
import torch
from mmdet.registry import MODELS
from torch import Tensor

from ssod.models.mmdet_backbones import as_mmdet_backbone
from ssod.models.torchvision_backbone import TorchvisionBackbone
from ssod.models.torchvision_maps import network_shapes

ALL = (4, 8, 16, 32)

# What each row proves:
SAME = [
    ('mobilenet_v2', {}),  # the maps that there are if none are named
    ('mobilenet_v2', {'out_strides': (2, *ALL)}),  # every map that it has
    ('mobilenet_v2', {'out_strides': [32]}),  # as a list, which a config may have
    ('resnet18', {}),
    ('resnet18', {'out_strides': ALL}),  # blocks of two convolutions
    ('resnet18', {'out_strides': (4, 8)}),  # what comes behind is in neither
    ('resnet50', {'out_strides': ALL}),  # the 3 x 3 convolution of a bottleneck has the stride
    ('resnext50_32x4d', {'out_strides': ALL}),  # groups
]


def random_backbone(arch: str, **settings: object) -> TorchvisionBackbone:
    """In eval mode, with norms whose weights and statistics all matter."""
    torch.manual_seed(0)
    backbone = TorchvisionBackbone(arch, **settings)
    for name, value in backbone.state_dict().items():
        if value.dim() == 1:
            value.uniform_(0.5, 1.5) if name.endswith(('weight', 'var')) else value.normal_(0, 0.1)
    return backbone.eval()


@pytest.mark.parametrize(('arch', 'settings'), SAME)
def test_every_map_is_the_same_bit_for_bit(arch: str, settings: dict[str, object]) -> None:
    ours = random_backbone(arch, **settings)
    found = as_mmdet_backbone({'arch': arch, **settings}, ours.state_dict())
    assert found is not None
    theirs = MODELS.build(found[0])
    assert not type(theirs).__module__.startswith('ssod')
    theirs.load_state_dict(found[1])
    theirs.eval()
    for size in ((64, 96), (33, 70)):
        images = torch.rand(2, 3, *size)
        with torch.no_grad():
            wanted, given = ours(images), theirs(images)
        assert len(given) == len(wanted)
        for one, other in zip(given, wanted, strict=True):
            assert other.std() > 0
            assert one.equal(other)


@pytest.mark.parametrize(
    'arch',
    [f'resnet{depth}' for depth in (34, 101, 152)] + ['resnext101_32x8d', 'resnext101_64x4d'],
)
def test_the_larger_ones_take_all_weights(arch: str) -> None:
    shapes = {k: v for k, v in network_shapes(arch).items() if not k.startswith('fc.')}
    with torch.device('meta'):
        weights = {key: torch.empty(shape) for key, shape in shapes.items()}
        found = as_mmdet_backbone({'arch': arch}, weights)
        assert found is not None
        theirs = MODELS.build(found[0]).state_dict()
    assert {key: value.shape for key, value in theirs.items()} == shapes
    assert found[1] == weights


@pytest.mark.parametrize(
    ('arch', 'settings'),
    [
        ('mobilenet_v3_small', {}),  # mmdet has none
        ('wide_resnet50_2', {}),  # nor one with wider bottlenecks
        ('mobilenet_v2', {'out_strides': (8, 16)}),  # mmdet's has weights up to stride 32
        ('resnet18', {'out_strides': (2, 4)}),  # mmdet's does not give its stem's map
        ('resnet18', {'frozen_stride': 3}),  # no map ends there
    ],
)
def test_others_stay_what_they_are(arch: str, settings: dict[str, object]) -> None:
    assert as_mmdet_backbone({'arch': arch, **settings}, {}) is None


@pytest.mark.parametrize(
    ('arch', 'settings'),
    [
        (arch, {'frozen_stride': stride, 'norm_eval': stride == 4})
        for arch in ('mobilenet_v2', 'resnet18')
        for stride in (0, 2, 4, 8, 16)
    ]
    # mmdet's MobileNet v2 always trains its end.
    + [('resnet18', {'frozen_stride': 32})],
)
def test_as_much_is_trained(arch: str, settings: dict[str, object]) -> None:
    ours = TorchvisionBackbone(arch, **settings).train()
    trained = {name: torch.tensor(p.requires_grad) for name, p in ours.named_parameters()}
    found = as_mmdet_backbone({'arch': arch, **settings}, trained)
    assert found is not None
    theirs = MODELS.build(found[0])
    theirs.train()
    assert {n: p.requires_grad for n, p in theirs.named_parameters()} == found[1]
    assert theirs.norm_eval == ours.norm_eval


def test_it_starts_from_its_weights_alone() -> None:
    found = as_mmdet_backbone({'arch': 'resnet18', 'weights': 'IMAGENET1K_V1'}, {})
    assert found is not None
    assert found[0] == {
        'type': 'ResNet',
        'depth': 18,
        'style': 'pytorch',
        'out_indices': (1, 2, 3),
        'frozen_stages': -1,
        'norm_eval': False,
    }


def test_weights_of_another_network_keep_their_names() -> None:
    strange: dict[str, Tensor] = {'layer1.0.conv1.weight': torch.zeros(1), 'x': torch.zeros(1)}
    found = as_mmdet_backbone({'arch': 'mobilenet_v2'}, strange)
    assert found is not None
    assert found[1] == strange
