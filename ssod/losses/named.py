"""Losses by their names, as mmdet's detectors give them."""

from collections.abc import Mapping
from typing import Any

Losses = dict[str, Any]
"""A tensor or a list of tensors for each name; only names with ``loss`` in them are losses."""


def named(prefix: str, losses: Losses, weight: float = 1.0) -> Losses:
    """Losses with prefixed names and a weight, which a logged accuracy does not get.

    Args:
        prefix: Put before each name, with an underscore.
        losses: By their names.
        weight: Weight of all with ``loss`` in their name.
    """
    return {
        f'{prefix}_{name}': _scaled(value, weight) if 'loss' in name else value
        for name, value in losses.items()
    }


def with_factors(losses: Losses, factors: Mapping[str, float]) -> Losses:
    """Losses times their factors, without those whose factor is 0.

    Args:
        losses: By their names.
        factors: By the same names, see :func:`check_factors`; 1 where there is none.
    """
    kept = {name: value for name, value in losses.items() if factors.get(name, 1.0) != 0}
    return {name: _scaled(value, factors.get(name, 1.0)) for name, value in kept.items()}


def check_factors(losses: Losses, factors: Mapping[str, float]) -> None:
    """Refuse factors of losses that do not exist.

    Args:
        losses: By their names.
        factors: By the same names.

    Raises:
        ValueError: Names the first factor without a loss, and the losses that there are.
    """
    unknown = [name for name in factors if name not in losses]
    if unknown:
        raise ValueError(
            f'pseudo_factors: the detector has no loss {unknown[0]!r}; use '
            f'{", ".join(name for name in losses if "loss" in name)}'
        )


def _scaled(value: Any, weight: float) -> Any:
    """A tensor or a list of tensors (a loss for each level) times a weight."""
    return [v * weight for v in value] if isinstance(value, list) else value * weight
