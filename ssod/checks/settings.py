"""Checks of settings in a config that would otherwise fail late, or not at all."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from mmengine.config import Config
from mmengine.hooks import CheckpointHook
from mmengine.runner import Runner
from torch.nn.utils import clip_grad_norm_, clip_grad_value_
from torch.utils.data import DataLoader

from ssod.checks.detectors import check_detector
from ssod.config_parts import value_at
from ssod.strict import check_keys, settings_of

KNOWN = (
    *settings_of(Runner.__init__),
    'auto_scale_lr',
    'custom_imports',
    'log_level',
    # What the runner looks up as it builds the model.
    *('activation_checkpointing', 'compile', 'efficient_conv_bn_eval', 'find_unused_parameters'),
    *('model_wrapper_cfg', 'sync_bn'),
)
"""The names that are read of a config; all others in it are the config's own."""
LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')
DICTS = (
    *('model', 'train_cfg', 'val_cfg', 'test_cfg', 'optim_wrapper', 'default_hooks'),
    *('auto_scale_lr', *(f'{loader}.sampler' for loader in LOADERS)),
)
"""Settings that are dicts, besides those whose keys are known."""
LEAST = {
    'train_cfg.max_iters': 1,
    'train_cfg.max_epochs': 1,
    'train_cfg.val_interval': 1,
    'randomness.seed': 0,
    **{f'{loader}.batch_size': 1 for loader in LOADERS},
    **{f'{loader}.num_workers': 0 for loader in LOADERS},
}
"""Settings that are whole numbers, and their minimum."""
POSITIVE = ('optim_wrapper.optimizer.lr', 'auto_scale_lr.base_batch_size')


def check_settings_of(cfg: Config) -> None:
    """Refuse misspelt settings, which nothing reads, and values that make no sense.

    Covers those that would be ignored, found only after hours, or end in a traceback; all others
    are refused by the class that takes them.

    Args:
        cfg: The config.

    Raises:
        ValueError: Names the first one, and what it may mean or must be.
    """
    file = cfg.filename or 'config'
    for name in cfg:
        near = [known for known in KNOWN if _is_slip(name, known)]
        if near and name not in KNOWN:
            raise ValueError(
                f'{file}: unknown setting {name!r}; did you mean {near[0]!r}? If it is your own, '
                f'give it another name'
            )
    check_dicts_of(cfg)
    for where, known in _known_keys(cfg).items():
        own = [key for key in value_at(cfg, where) or {} if not key.startswith('_')]  # _scope_
        check_keys(f'{file}: {where}', own, dict.fromkeys(known))
    for where, least in LEAST.items():
        value = value_at(cfg, where)
        if value is not None and not (type(value) is int and value >= least):
            raise ValueError(
                f'{file}: {where} is {value!r}, but must be a whole number of at least {least}'
            )
    for where in POSITIVE:
        value = value_at(cfg, where)
        if value is not None and not (type(value) in (int, float) and value > 0):
            raise ValueError(f'{file}: {where} is {value!r}, but must be a number above 0')
    start = cfg.get('load_from')
    if start is not None and not isinstance(start, str):
        raise ValueError(
            f'{file}: load_from is {start!r}, but must be the file or URL of one checkpoint'
        )
    _check_ratio(cfg, file)
    detector = value_at(cfg, 'model.detector')
    if detector is not None:
        check_detector(detector, f'{file}: model.detector')


def check_options(cfg: Config, options: Iterable[str]) -> None:
    """Refuse options that nothing reads.

    Args:
        cfg: The config that they will change.
        options: Their dotted keys.

    Raises:
        ValueError: Names the first one, and the key that may be meant.
    """
    read = {name: value for name, value in cfg.to_dict().items() if name in KNOWN}
    for option in options:
        name, _, rest = option.partition('.')
        if name in KNOWN:
            continue
        # Training before the rest, and short keys first.
        places = [known for known in KNOWN if _is_slip(name, known)] or sorted(
            _places_of(name, read),
            key=lambda place: (not place.startswith('train'), place.count('.'), place),
        )
        hint = 'write the whole key, as in train_cfg.max_iters'
        if name in cfg:
            hint = f'{name} is a variable of the config file, which only the file uses; {hint}'
        elif places:
            hint = 'did you mean ' + '.'.join(filter(None, (places[0], rest))) + '?'
        raise ValueError(f'{cfg.filename}: unknown option {option!r}; {hint}')


def _places_of(name: str, value: Any, where: tuple[str, ...] = ()) -> Iterator[str]:
    """Dotted keys of a config's settings called ``name``, or with that type."""
    if isinstance(value, Mapping):
        if value.get('type') == name:
            yield '.'.join(where)
        for key, inner in value.items():
            if key == name and where:
                yield '.'.join((*where, key))
            yield from _places_of(name, inner, (*where, str(key)))
    elif isinstance(value, list | tuple):
        for place, inner in enumerate(value):
            yield from _places_of(name, inner, (*where, str(place)))


def check_dicts_of(cfg: Config) -> None:
    """Refuse settings that should be dicts but are not, before anything reads or changes them.

    Args:
        cfg: The config.

    Raises:
        ValueError: Names the first one.
    """
    for where in (*DICTS, *_known_keys(cfg)):
        value = value_at(cfg, where)
        if value is not None and not isinstance(value, Mapping):
            raise ValueError(
                f'{cfg.filename or "config"}: {where} is {value!r}, but must be a dict'
            )


def _check_ratio(cfg: Config, file: str) -> None:
    """Refuse a ratio that does not match the sources, before anything is fitted to it."""
    sampler = value_at(cfg, 'train_dataloader.sampler') or {}
    sources = value_at(cfg, 'train_dataloader.dataset.datasets')
    if sampler.get('type') != 'SourceRatioSampler' or not isinstance(sources, list | tuple):
        return
    ratio: Any = sampler.get('source_ratio')
    is_whole = isinstance(ratio, list | tuple) and all(type(n) is int and n >= 1 for n in ratio)
    if not is_whole or len(ratio) != len(sources):
        raise ValueError(
            f'{file}: train_dataloader.sampler.source_ratio is {ratio!r}, but must be a list of '
            f'whole numbers of at least 1, one for each of {len(sources)} data sets'
        )


def _known_keys(cfg: Config) -> dict[str, Iterable[str]]:
    """The known keys of some parts of a config, by the dotted key of each part."""
    clips = {'value': clip_grad_value_}
    clip = clips.get(value_at(cfg, 'optim_wrapper.clip_grad.type'), clip_grad_norm_)
    # The hook passes on what it does not know to the runner when it saves.
    saving = (*settings_of(CheckpointHook.__init__), *settings_of(Runner.save_checkpoint))
    # In addition to PyTorch's.
    mmengine = ('dataset', 'num_batch_per_epoch', 'disable_subprocess_warning')
    return {
        'randomness': settings_of(Runner.set_randomness),
        'env_cfg': ('cudnn_benchmark', 'mp_cfg', 'dist_cfg', 'resource_limit'),
        'optim_wrapper.clip_grad': ('type', *settings_of(clip)),
        'default_hooks.checkpoint': ('type', 'priority', *saving),
        **{loader: (*settings_of(DataLoader.__init__), *mmengine) for loader in LOADERS},
    }


def _is_slip(name: str, known: str) -> bool:
    """Whether ``name`` has one letter more, less or different, or two neighbours swapped."""
    start = 0
    while start < min(len(name), len(known)) and name[start] == known[start]:
        start += 1
    mine, theirs = name[start:], known[start:]
    swapped = mine[1::-1] + mine[2:]
    return mine[1:] == theirs or mine == theirs[1:] or mine[1:] == theirs[1:] or swapped == theirs
