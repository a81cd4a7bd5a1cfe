"""Checks of the names in a config."""

import inspect

from mmengine.config import Config
from mmengine.runner import Runner

KNOWN = (
    *list(inspect.signature(Runner.__init__).parameters)[1:],
    'auto_scale_lr',
    'custom_imports',
    'log_level',
)
"""What is read of a config; everything else in it is the config's own affair."""


def check_names_of(cfg: Config) -> None:
    """Refuse a config with a name that nobody reads, but that is a slip from one that is read.

    Args:
        cfg: The config.

    Raises:
        ValueError: Names the first of them, and what it looks like.
    """
    for name in cfg:
        near = [known for known in KNOWN if _is_slip(name, known)]
        if near and name not in KNOWN:
            raise ValueError(
                f'{cfg.filename}: nobody reads the setting {name!r}; did you mean {near[0]!r}? '
                f'Give it another name if it is your own'
            )


def _is_slip(name: str, known: str) -> bool:
    """Whether a letter is too many, missing or another, or two have changed places."""
    start = 0
    while start < min(len(name), len(known)) and name[start] == known[start]:
        start += 1
    mine, theirs = name[start:], known[start:]
    swapped = mine[1::-1] + mine[2:]
    return mine[1:] == theirs or mine == theirs[1:] or mine[1:] == theirs[1:] or swapped == theirs
