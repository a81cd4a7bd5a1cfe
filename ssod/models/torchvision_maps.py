"""Where a torchvision classification network makes its feature map of each stride.

This works without a table of networks. A network is traced and run on two images of different size;
how much a map grows gives its stride, even where borders are not padded. The map of a stride is the
output of the last outermost module with that stride, such as ``layer2`` of a ResNet or
``features.6`` of MobileNet v2, and never something half-way through a block.
"""

import difflib
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torchvision
from torch import Tensor, nn
from torchvision.models.feature_extraction import create_feature_extractor, get_graph_node_names

WORKING = 'resnet50, mobilenet_v3_large, efficientnet_b0, convnext_tiny, swin_t'
"""Networks that error messages suggest."""

_SIDES = (256, 512)
"""Sides of the two probe images: multiples of every stride, and large enough for any network."""

_DEPTH = 2
"""Depth of the module tree down to which maps are looked for; blocks begin below."""

# Their torchvision weights were trained with another normalization, to which they convert images
# with this option.
_ARGUMENTS: dict[str, dict[str, bool]] = {
    'googlenet': {'transform_input': True, 'init_weights': True},
    'inception_v3': {'transform_input': True, 'init_weights': True},
}


@dataclass(frozen=True)
class FeatureMap:
    """One feature map of a network.

    Args:
        node: Name of the traced operation that makes it.
        channels: Number of channels.
        channels_last: Whether it is (B, H, W, C) and not (B, C, H, W).
    """

    node: str
    channels: int
    channels_last: bool


def build_network(arch: str) -> nn.Module:
    """A whole torchvision classification network with random weights.

    Raises:
        ValueError: If torchvision has no such classification network.
    """
    known = torchvision.models.list_models(module=torchvision.models)
    if arch not in known:
        near = difflib.get_close_matches(arch, known, n=1)
        hint = f'did you mean {near[0]!r}?' if near else f'use for example {WORKING}'
        raise ValueError(f'torchvision has no classification network {arch!r}; {hint}')
    network: nn.Module = torchvision.models.get_model(
        arch, weights=None, **_ARGUMENTS.get(arch, {})
    )
    return network


@functools.cache
def network_shapes(arch: str) -> dict[str, torch.Size]:
    """Shapes of all tensors of a whole network, its classifier included, by name."""
    return {key: value.shape for key, value in _skeleton(arch).state_dict().items()}


@functools.cache
def feature_maps(arch: str) -> dict[int, FeatureMap]:
    """The feature maps of a network by stride, in ascending order.

    Raises:
        ValueError: If there is no such network, or it does not accept images of any size.
    """
    network = _skeleton(arch)
    try:
        last = _last_nodes(get_graph_node_names(network, suppress_diff_warning=True)[1])
        small, large = _shapes(network, sorted(set(last.values())))
    except (AssertionError, RuntimeError, TypeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f'{arch} cannot be a backbone, as it does not accept images of any size ({reason}); '
            f'use for example {WORKING}'
        ) from error
    found: dict[int, tuple[int, FeatureMap]] = {}
    for path, node in last.items():
        depth = path.count('.')
        grown = _grown_dims(small[node], large[node])
        if grown not in ([1, 2], [2, 3]):
            continue
        stride = (_SIDES[1] - _SIDES[0]) // (large[node][grown[0]] - small[node][grown[0]])
        if stride not in found or depth <= found[stride][0]:
            channels_last = grown == [1, 2]
            channels = small[node][3 if channels_last else 1]
            found[stride] = depth, FeatureMap(node, channels, channels_last)
    return {stride: found[stride][1] for stride in sorted(found)}


class MapProgram:
    """A network's computation up to the maps of some strides, without its weights.

    It never changes, so copies of a model share it. :func:`map_program` makes it; unpickling makes
    it again from the same arguments.

    Args:
        arch: Name of the network.
        strides: Strides of the maps, ascending.

    Attributes:
        maps: The maps.
        modules: Names of all modules that take part, including those that contain others.
        leaves: Names of those that contain no others.
        parameters: Names of the parameters that take part.

    Raises:
        ValueError: If the network has no map of one of the strides.
    """

    def __init__(self, arch: str, strides: tuple[int, ...]) -> None:
        available = feature_maps(arch)
        missing = [stride for stride in strides if stride not in available]
        if missing:
            raise ValueError(
                f'{arch} has no feature map of stride {missing[0]}; its strides are '
                f'{", ".join(map(str, available))}'
            )
        self._arguments = arch, strides
        self.maps = tuple(available[stride] for stride in strides)
        nodes = {feature_map.node: feature_map.node for feature_map in self.maps}
        graph = create_feature_extractor(_skeleton(arch), nodes, suppress_diff_warning=True)
        parts = dict(graph.named_modules())
        self.modules = frozenset(parts)
        self.leaves = frozenset(name for name, part in parts.items() if not any(part.children()))
        self.parameters = frozenset(name for name, _ in graph.named_parameters())
        # The generated code finds its modules by name, so it runs on any object that has them.
        self._train = type(graph.train()).forward
        self._eval = type(graph.eval()).forward

    def __call__(self, network: nn.Module, images: Tensor) -> tuple[Tensor, ...]:
        """Run on images (B, 3, H, W) with the weights of a module that has the same submodules.

        Returns:
            One map (B, C, H / stride, W / stride) for each stride.
        """
        run: Any = self._train if network.training else self._eval
        outputs = run(network, images)
        return tuple(
            outputs[m.node].permute(0, 3, 1, 2).contiguous() if m.channels_last else outputs[m.node]
            for m in self.maps
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return map_program, self._arguments


@functools.cache
def map_program(arch: str, strides: tuple[int, ...]) -> MapProgram:
    """The :class:`MapProgram` of a network and strides, traced once in a process."""
    return MapProgram(arch, strides)


@functools.cache
def _skeleton(arch: str) -> nn.Module:
    """A whole network on the meta device; the random state does not change."""
    with torch.random.fork_rng(devices=[]):
        try:
            with torch.device('meta'):
                return build_network(arch)
        except NotImplementedError:  # RegNet computes its widths with tensors.
            return build_network(arch).to('meta')


def _last_nodes(nodes: Sequence[str]) -> dict[str, str]:
    """The last operation of each module or function near the top, in order of the first ones."""
    last: dict[str, str] = {}
    for node in nodes[1:]:  # The first is the image.
        parts = node.split('.')
        for depth in range(1, min(len(parts), _DEPTH) + 1):
            last['.'.join(parts[:depth])] = node
    return last


def _shapes(network: nn.Module, nodes: Sequence[str]) -> list[dict[str, tuple[int, ...]]]:
    """Output shapes of operations for each of the two probe images."""
    extract = create_feature_extractor(
        network, {node: node for node in nodes}, suppress_diff_warning=True
    ).eval()
    shapes = []
    for side in _SIDES:
        # Not called as a module, which would print the generated code when it fails.
        outputs = type(extract).forward(extract, torch.empty(1, 3, side, side, device='meta'))
        shapes.append({key: tuple(getattr(out, 'shape', ())) for key, out in outputs.items()})
    return shapes


def _grown_dims(small: tuple[int, ...], large: tuple[int, ...]) -> list[int]:
    """The dimensions of a 4-D map that grow with the image; none for anything else."""
    if len(small) != 4:
        return []
    return [i for i in range(4) if small[i] != large[i]]
