"""Torchvision backbones that mmdet has too: mmdet's settings and weight names.

Both compute the same maps with the same operations, bit for bit. In training without ``norm_eval``
there is one difference: mmdet's MobileNet v2 freezes its first convolution, but not its batch norm.
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

_RESNETS: dict[str, dict[str, Any]] = {
    **{f'resnet{depth}': {'type': 'ResNet', 'depth': depth} for depth in (18, 34, 50, 101, 152)},
    'resnext50_32x4d': {'type': 'ResNeXt', 'depth': 50, 'groups': 32, 'base_width': 4},
    'resnext101_32x8d': {'type': 'ResNeXt', 'depth': 101, 'groups': 32, 'base_width': 8},
    'resnext101_64x4d': {'type': 'ResNeXt', 'depth': 101, 'groups': 64, 'base_width': 4},
}

# By stride: mmdet's number of the map, and of the stage that ends there for freezing.
_RESNET_MAPS = {4: 0, 8: 1, 16: 2, 32: 3}
_RESNET_FROZEN = {0: -1, 2: 0, 4: 1, 8: 2, 16: 3, 32: 4}
_MOBILENET_MAPS = {2: 0, 4: 1, 8: 2, 16: 4, 32: 7}
# mmdet always trains the layer after the seventh, which ends at stride 32.
_MOBILENET_FROZEN = {0: -1, 2: 1, 4: 2, 8: 3, 16: 5, 32: 7}

_MOBILENET_BLOCKS = (1, 2, 3, 4, 3, 3, 1)
"""Number of blocks in each of mmdet's layers; torchvision numbers all blocks in a row."""


def as_mmdet_backbone(
    settings: Mapping[str, Any], weights: Mapping[str, Tensor]
) -> tuple[dict[str, Any], dict[str, Tensor]] | None:
    """A ``TorchvisionBackbone`` as mmdet's own class of the same network.

    Args:
        settings: Those of a :class:`~ssod.models.TorchvisionBackbone`; its pretrained weights do
            not matter.
        weights: Its weights by name. Other names are kept.

    Returns:
        Settings with mmdet's ``type``, and the same weights under mmdet's names. ``None`` if mmdet
        does not have the network or these maps: its MobileNet v2 goes to stride 32, and its ResNets
        begin at stride 4.
    """
    strides = tuple(settings.get('out_strides', (8, 16, 32)))
    frozen = settings.get('frozen_stride', 0)
    norms = {'norm_eval': settings.get('norm_eval', False)}
    arch = settings['arch']
    if arch == 'mobilenet_v2' and strides[-1] == 32:
        where = _where(strides, frozen, _MOBILENET_MAPS, _MOBILENET_FROZEN)
        names = _mobilenet_names()
        renamed = {_renamed(key, names): value for key, value in weights.items()}
        return None if where is None else ({'type': 'MobileNetV2', **where, **norms}, renamed)
    if arch in _RESNETS:
        where = _where(strides, frozen, _RESNET_MAPS, _RESNET_FROZEN)
        if where is not None:
            stages = _stages(where['out_indices'][-1] + 1)
            return {**_RESNETS[arch], **stages, 'style': 'pytorch', **where, **norms}, dict(weights)
    return None


def _where(
    strides: tuple[int, ...], frozen: int, maps: Mapping[int, int], ends: Mapping[int, int]
) -> dict[str, Any] | None:
    """The maps and frozen stages as mmdet's settings; ``None`` if mmdet has no such ones."""
    if not set(strides) <= maps.keys() or frozen not in ends:
        return None
    return {
        'out_indices': tuple(maps[stride] for stride in strides),
        'frozen_stages': ends[frozen],
    }


def _stages(number: int) -> dict[str, Any]:
    """A ResNet's settings if only some of its four stages are used."""
    if number == 4:
        return {}
    return {
        'num_stages': number,
        'strides': (1, 2, 2, 2)[:number],
        'dilations': (1,) * number,
    }


def _renamed(key: str, names: Mapping[str, str]) -> str:
    layer, dot, tensor = key.rpartition('.')
    return f'{names.get(layer, layer)}{dot}{tensor}'


def _mobilenet_names() -> dict[str, str]:
    """The names in mmdet of the convolutions and norms of torchvision's MobileNet v2."""
    names = _conv_and_norm('features.0', 'conv1') | _conv_and_norm('features.18', 'conv2')
    blocks = [
        f'layer{layer}.{block}'
        for layer, count in enumerate(_MOBILENET_BLOCKS, start=1)
        for block in range(count)
    ]
    for number, block in enumerate(blocks, start=1):
        # The first block does not widen its input.
        wide = ['depthwise_conv'] if number == 1 else ['expand_conv', 'depthwise_conv']
        for place, part in enumerate(wide):
            names |= _conv_and_norm(f'features.{number}.conv.{place}', f'{block}.{part}')
        names[f'features.{number}.conv.{len(wide)}'] = f'{block}.linear_conv.conv'
        names[f'features.{number}.conv.{len(wide) + 1}'] = f'{block}.linear_conv.bn'
    return names


def _conv_and_norm(ours: str, theirs: str) -> dict[str, str]:
    return {f'{ours}.0': f'{theirs}.conv', f'{ours}.1': f'{theirs}.bn'}
