"""A trained teacher as a plain mmdet detector: a checkpoint and a config without this package."""

import io
import os
from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmdet.registry import DATASETS, METRICS, MODELS, TASK_UTILS, TRANSFORMS
from mmengine.config import Config, ConfigDict
from mmengine.registry import init_default_scope
from torch import Tensor

from ssod.checkpoint_content import Whose, models_in, weights_of
from ssod.checkpoints import load_checkpoint
from ssod.config_parts import dicts_in, require_parts
from ssod.files import other_content, write_whole
from ssod.models.mmdet_backbones import as_mmdet_backbone
from ssod.plain_detector import (
    build_detector,
    classes_and_palette,
    detector_cfg,
    weights_of_one,
)

EQUIVALENTS = {
    'BatchedRPNHead': ('RPNHead', ()),
    'BatchedShared2FCBBoxHead': ('Shared2FCBBoxHead', ()),
    'DigitsDataset': ('CocoDataset', ('scenes',)),
    'FastCocoMetric': ('CocoMetric', ()),
    'LoadImage': ('LoadImageFromFile', ()),
    'PyramidRoIExtractor': ('SingleRoIExtractor', ()),
    'SoftmaxFocalLoss': ('CrossEntropyLoss', ('gamma',)),
    'TwoHeadBBoxHead': ('Shared2FCBBoxHead', ('logit_distance',)),
}
"""mmdet's equivalents of our classes, for prediction, and the settings that they do not have."""

_BACKBONE = 'backbone.'
_HEAD = 'roi_head.bbox_head.fc_cls.'
_UPSTREAM = ('mmcv', 'mmdet', 'mmengine', 'torch', 'torchvision')
_VISUALIZER = {
    'type': 'DetLocalVisualizer',
    'vis_backends': [{'type': 'LocalVisBackend'}],
    'name': 'visualizer',
}


@dataclass(frozen=True)
class Published:
    """What was written.

    Args:
        config: The config.
        checkpoint: The checkpoint.
        needs: Classes of the detector or its data that mmdet does not have, with their modules,
            which must be importable wherever it is used. Empty if mmdet is enough.
    """

    config: Path
    checkpoint: Path
    needs: tuple[str, ...]


def publish(
    cfg: Config,
    checkpoint: str | Path,
    out: str | Path | None = None,
    whose: Whose = 'teacher',
    overwrite: bool = False,
) -> Published:
    """Write a trained teacher as a plain mmdet detector.

    The detector, its preprocessor and the preparation of images stay the same, and so do its
    predictions. See ``EQUIVALENTS`` for what replaces our own classes, and
    :mod:`ssod.models.mmdet_backbones` for torchvision's backbones.

    Args:
        cfg: The config of the run.
        checkpoint: A checkpoint for it.
        out: The folder for both files, which are named after the config; ``published`` next to the
            checkpoint if ``None``.
        whose: Which of the two detectors.
        overwrite: Whether files with other content may be replaced.

    Raises:
        FileExistsError: If such a file exists and may not be replaced.
        FileNotFoundError: If the checkpoint does not exist.
        ValueError: If the config or the checkpoint is of a plain detector already, the two do not
            go together, or one of them would be overwritten.
    """
    place = Path(checkpoint).parent / 'published' if out is None else Path(out)
    files = (place / f'{Path(cfg.filename).stem}.py', place / f'{Path(cfg.filename).stem}.pth')
    _check_run_stays(files, (cfg.filename, checkpoint))
    init_default_scope('mmdet')
    require_parts(cfg, str(cfg.filename), ('model',))
    if 'detector' not in cfg.model:
        raise ValueError(
            f'{cfg.filename}: {cfg.model.get("type")} is a plain detector already; use a config '
            f'of a student and its teacher'
        )
    loaded = load_checkpoint(str(checkpoint), 'cpu')
    weights = weights_of(loaded)
    if not models_in(weights):
        raise ValueError(f'{checkpoint} is of a plain detector already, without a {whose}')
    meta = classes_and_palette(cfg, loaded, checkpoint)
    plain = _plain_config(cfg, meta)
    state = _use_mmdet_backbone(plain.model, weights_of_one(weights, whose, checkpoint))
    if any(part.get('type') == 'TwoHeadBBoxHead' for part in dicts_in(cfg.model)):
        state = _first_classifier(state)
    needs = _foreign_classes(plain)
    if needs:
        plain.custom_imports = {'imports': _imports(cfg, needs), 'allow_failed_imports': False}
    # Build exactly what is written, so that errors show up here and not elsewhere.
    text = f'# The {whose} of {Path(checkpoint).name}.\n{Config(plain).pretty_text}'
    build_detector(Config.fromstring(text, '.py').model, state, checkpoint)
    content = (text.encode(), _as_bytes({'meta': {'dataset_meta': meta}, 'state_dict': state}))
    _write(dict(zip(files, content, strict=True)), overwrite)
    return Published(*files, tuple(needs))


def _plain_config(cfg: Config, meta: Mapping[str, Any]) -> ConfigDict:
    """The config for mmdet, with our own classes replaced where possible."""
    model = detector_cfg(cfg)
    # Batch augmentations, and how our own heads are trained, belong to the training.
    model.data_preprocessor.pop('batch_augments', None)
    plain = ConfigDict(default_scope='mmdet', model=model)
    for part, other in (('val', 'test'), ('test', 'val')):
        source = part if cfg.get(f'{part}_dataloader') else other
        plain[f'{part}_dataloader'] = cfg[f'{source}_dataloader']
        if cfg.get(f'{source}_evaluator'):
            plain[f'{part}_evaluator'] = cfg[f'{source}_evaluator']
            plain[f'{part}_cfg'] = ConfigDict(type=f'{part.title()}Loop')
    plain.visualizer = ConfigDict(_VISUALIZER)
    plain = deepcopy(plain)
    for part in dicts_in(plain):
        _use_equivalent(part)
    if plain.model.get('train_cfg') and _foreign_classes(plain.model.train_cfg):
        plain.model.train_cfg = None
    for part in ('val', 'test'):
        _say_classes(plain[f'{part}_dataloader'].dataset, meta)
    return plain


def _use_equivalent(part: ConfigDict) -> None:
    kind, settings = EQUIVALENTS.get(part.get('type'), (None, ()))
    if kind is not None:
        part.type = kind
        for name in settings:
            part.pop(name, None)


def _use_mmdet_backbone(model: ConfigDict, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Use mmdet's class for a torchvision network, if it has one.

    Args:
        model: The detector's config; it is changed.
        state: Its weights.

    Returns:
        The weights, with the names that the config needs.
    """
    backbone = model.get('backbone') or {}
    if backbone.get('type') != 'TorchvisionBackbone':
        return dict(state)
    own = {key: value for key, value in state.items() if key.startswith(_BACKBONE)}
    equal = as_mmdet_backbone(backbone, {k.removeprefix(_BACKBONE): v for k, v in own.items()})
    if equal is None:
        return dict(state)
    settings, weights = equal
    model.backbone = ConfigDict(settings)
    rest = {key: value for key, value in state.items() if key not in own}
    return {**{f'{_BACKBONE}{key}': value for key, value in weights.items()}, **rest}


def _say_classes(data_set: ConfigDict, meta: Mapping[str, Any]) -> None:
    """Add the classes to a data set's config unless its type has the same."""
    known = getattr(DATASETS.get(data_set.type), 'METAINFO', {})
    if tuple(known.get('classes', ())) != meta['classes']:
        data_set.metainfo = {**data_set.get('metainfo', {}), **meta}


def _first_classifier(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights with only one classifier in the region head, the one that predicts."""
    return {
        # A copy, because saving a part of a tensor saves all of it.
        key: value.chunk(2)[0].clone() if key.startswith(_HEAD) else value
        for key, value in state.items()
    }


def _foreign_classes(cfg: Any) -> list[str]:
    """The classes of a config that are neither in mmdet nor in what it is built on."""
    return sorted({name for name in _classes(cfg) if name.split('.')[0] not in _UPSTREAM})


def _classes(cfg: Any) -> Iterator[str]:
    """Module and name of the classes of a config."""
    registries = (MODELS, TASK_UTILS, DATASETS, TRANSFORMS, METRICS)
    for part in dicts_in(cfg):
        kind = str(part.get('type'))
        name = kind.removeprefix('mmdet.')
        for registry in (*registries, *(mmdet.parent for mmdet in registries)):
            cls = registry.module_dict.get(name)
            if cls is None and '.' in name:
                cls = registry.get(kind)  # Of another scope.
            if cls is not None:
                yield f'{cls.__module__}.{cls.__qualname__}'


def _imports(cfg: Config, needs: list[str]) -> list[str]:
    """The imports that register some classes.

    If one of them is in none of the modules that the config imports, another module registers it;
    then all the config's imports are kept.
    """
    given = cfg.get('custom_imports', {}).get('imports', [])
    named = [given] if isinstance(given, str) else list(given)
    if any(name.startswith('ssod.') for name in needs) and 'ssod' not in named:
        named.append('ssod')
    own = {name: [need for need in needs if need.startswith(f'{name}.')] for name in named}
    if {need for found in own.values() for need in found} != {*needs}:
        return named
    return [name for name, found in own.items() if found]


def _check_run_stays(files: Iterable[Path], run: Iterable[str | Path]) -> None:
    """Refuse to overwrite the run's own config or checkpoint, which it needs to continue."""
    real = {os.path.realpath(path) for path in run}
    for path in files:
        if os.path.realpath(path) in real:
            raise ValueError(
                f'{path} belongs to the run itself and would be overwritten; pass another --out'
            )


def _as_bytes(checkpoint: Mapping[str, Any]) -> bytes:
    buffer = io.BytesIO()
    torch.save(checkpoint, buffer)
    return buffer.getvalue()


def _write(files: Mapping[Path, bytes], overwrite: bool) -> None:
    """Write both files, or neither if one may not be replaced."""
    for path, content in files.items():
        if path.exists() and not overwrite and path.read_bytes() != content:
            raise other_content(path)
    # The checkpoint first: if the disk has no room for it, both files stay as they were.
    for path, content in sorted(files.items(), key=lambda file: len(file[1]), reverse=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, content)
