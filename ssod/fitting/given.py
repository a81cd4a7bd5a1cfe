"""What the user asks for; fitting never replaces it."""

import copy
from collections.abc import Iterator, Mapping
from typing import Any

from mmengine.config import Config


class Given:
    """Config values that a user gives.

    Args:
        options: Values with dotted keys, as ``--cfg-options`` makes them.
    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._options = dict(options)
        self._keys = list(_dotted(self._options))

    def has(self, key: str) -> bool:
        """Whether a setting is given, or a part of it, or something that contains it."""
        return any(
            f'{k}.'.startswith(f'{key}.') or f'{key}.'.startswith(f'{k}.') for k in self._keys
        )

    def names(self, *names: str) -> bool:
        """Whether a setting with one of these names is given, or anything in it."""
        return any(part in names for key in self._keys for part in key.split('.'))

    def ends(self, part: str, *names: str) -> bool:
        """Whether a setting with one of these names is given as a whole.

        Args:
            part: What the outermost name ends with, such as ``_dataloader``.
            names: The innermost names.
        """
        return any(
            key.partition('.')[0].endswith(part) and key.rpartition('.')[2] in names
            for key in self._keys
        )

    def on(self, cfg: Config) -> Config:
        """A copy of a config with these values."""
        asked = copy.deepcopy(cfg)
        asked.merge_from_dict(self._options)
        return asked


def _dotted(options: Mapping[str, Any]) -> Iterator[str]:
    for key, value in options.items():
        if isinstance(value, Mapping) and value:
            yield from (f'{key}.{inner}' for inner in _dotted(value))
        else:
            yield key
