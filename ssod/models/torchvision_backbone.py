"""Any torchvision classification network as a detector's backbone."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
import torchvision
from mmdet.registry import MODELS
from mmengine.logging import print_log
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ssod.checkpoints import load_checkpoint
from ssod.models.torchvision_maps import build_network, map_program, network_shapes
from ssod.strict import strict_settings
from ssod.weight_files import fetch_weights


@MODELS.register_module()
@strict_settings
class TorchvisionBackbone(BaseModule):
    """Feature maps of a torchvision classification network.

    Parameters keep torchvision's names (``features.0.0.weight``). The classifier and everything
    else after the last map is left out, so every parameter takes part in training. Images must be
    normalized as for torchvision's weights: RGB, with the mean (123.675, 116.28, 103.53) and
    deviation (58.395, 57.12, 57.375) of mmdet's configs.

    To find the neck's ``in_channels``, ask Python; this needs no weights::

        >>> TorchvisionBackbone('mobilenet_v2').out_channels
        (32, 96, 1280)

    In a published detector, ``mobilenet_v2``, ``resnet*`` and ``resnext*`` become mmdet's own
    classes of the same networks. With any other backbone the published detector needs ssod.

    Args:
        arch: Name of the network, one of ``torchvision.models.list_models()``. Networks for images
            of a single size (``vit_*``, ``maxvit_t``) cannot be used.
        weights: Name of torchvision's weights (``'DEFAULT'``, ``'IMAGENET1K_V1'``), or the local
            file or URL of such a state dict; read by :meth:`init_weights`, as with all mmdet
            backbones. ``None`` for random weights.
        out_strides: Strides of the maps, ascending.
        frozen_stride: Everything up to and including the map of this stride is frozen, with its
            norm layers in eval mode; 0 to train everything.
        norm_eval: Whether all batch norms stay in eval mode, with the weights' own statistics.

    Attributes:
        out_channels: Number of channels of each map.

    Raises:
        ValueError: If torchvision has no such network or weights, the network cannot be a
            backbone, or it has no map of one of the strides.
    """

    def __init__(
        self,
        arch: str,
        weights: str | None = None,
        out_strides: Sequence[int] = (8, 16, 32),
        frozen_stride: int = 0,
        norm_eval: bool = False,
    ) -> None:
        super().__init__()
        strides = tuple(out_strides)
        _check_strides(strides, frozen_stride)
        self.arch = arch
        self.norm_eval = norm_eval
        self._program = map_program(arch, strides)
        self.reference = None if weights is None else _reference(arch, weights)
        network = build_network(arch)
        _prune(network, self._program.modules)
        for name, child in network.named_children():
            self.add_module(name, child)
        self.out_channels = tuple(m.channels for m in self._program.maps)
        self._frozen = map_program(arch, (frozen_stride,)) if frozen_stride else None
        if self._frozen is not None:
            for name in self._frozen.parameters:
                self.get_parameter(name).requires_grad = False

    def init_weights(self) -> None:
        """Read the weights, downloading them if they are not there yet.

        Raises:
            FileNotFoundError: If the local file does not exist.
            ConnectionError: If the weights cannot be downloaded; names the URL and the path.
            ValueError: If the file does not hold weights of this network.
        """
        if self.reference is not None:
            try:
                path = fetch_weights(self.reference)
            except ConnectionError as error:
                setting = '--cfg-options model.detector.backbone.weights=FILE'
                raise ConnectionError(f'{error}, or name it with {setting}') from None
            state = _read(path)
            wrong = _mismatch(state, self.state_dict(), network_shapes(self.arch))
            if wrong:
                raise ValueError(f'{path} does not hold weights of {self.arch}: {wrong}')
            self.load_state_dict({k: state[k] for k in self.state_dict() if k in state}, False)
            print_log(f'backbone {self.arch} starts from {path}', 'current')
        self.is_init = True

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """The maps of a batch of images.

        Args:
            images: (B, 3, H, W).

        Returns:
            For each stride a map (B, C, H / stride, W / stride), rounded as the network does.
        """
        return self._program(self, images)

    def train(self, mode: bool = True) -> 'TorchvisionBackbone':
        """Set the mode, except for the parts that stay in eval mode."""
        super().train(mode)
        if self._frozen is not None:
            for name in self._frozen.leaves:
                self.get_submodule(name).eval()
        if self.norm_eval:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self


def _check_strides(strides: tuple[int, ...], frozen_stride: int) -> None:
    """Refuse missing or unordered strides, and freezing beyond the last one."""
    if not strides or list(strides) != sorted(set(strides)):
        raise ValueError(
            f'TorchvisionBackbone: out_strides is {strides}, but must ascend, as in (8, 16, 32)'
        )
    if not 0 <= frozen_stride <= strides[-1]:
        raise ValueError(
            f'TorchvisionBackbone: frozen_stride is {frozen_stride}, but must be 0 or a stride up '
            f'to the last of out_strides, {strides[-1]}'
        )


def _reference(arch: str, weights: str) -> str:
    """The URL of torchvision's weights of that name, or the given file or URL."""
    known = torchvision.models.get_model_weights(arch).__members__
    if weights in known:
        return str(known[weights].url)
    if weights.isidentifier() and not Path(weights).exists():
        raise ValueError(
            f'TorchvisionBackbone: {arch} has no weights {weights!r}; use {", ".join(known)}, '
            f'or the path of a file'
        )
    return weights


def _prune(module: nn.Module, keep: frozenset[str], prefix: str = '') -> None:
    """Remove the submodules whose names are not in ``keep``."""
    for name, child in list(module.named_children()):
        if prefix + name in keep:
            _prune(child, keep, f'{prefix}{name}.')
        else:
            delattr(module, name)


def _read(path: Path) -> dict[str, Tensor]:
    """A state dict from a file, with torchvision's current names."""
    state = load_checkpoint(str(path), 'cpu')
    if not all(isinstance(value, Tensor) for value in state.values()):
        raise ValueError(f'{path} is not a state dict of a torchvision network')
    # DenseNet's files still have norm.1 where the modules are now called norm1.
    old = re.compile(r'(denselayer\d+\.(?:norm|conv))\.(\d)\.')
    return {old.sub(r'\1\2.', key): value for key, value in state.items()}


def _mismatch(
    state: Mapping[str, Tensor], wanted: Mapping[str, Tensor], whole: Mapping[str, torch.Size]
) -> str | None:
    """The first sign that a state dict is of another network.

    Args:
        state: The state dict.
        wanted: The tensors that the backbone needs.
        whole: The names in the whole network.
    """
    for key, value in wanted.items():
        # Files older than this counter are still good.
        if key not in state and not key.endswith('num_batches_tracked'):
            return f'{key} is missing'
        if key in state and state[key].shape != value.shape:
            return f'{key} is {tuple(state[key].shape)}, but must be {tuple(value.shape)}'
    strange = next((key for key in state if key not in whole), None)
    return None if strange is None else f'{strange} is not part of this network'
