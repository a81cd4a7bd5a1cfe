"""What is inside a config, and its parts that go together."""

from collections.abc import Iterator
from typing import Any

from mmengine.config import ConfigDict


def dicts_in(value: Any) -> Iterator[ConfigDict]:
    """All dicts inside a config, from the outside in."""
    if isinstance(value, dict):
        yield value
        for inner in value.values():
            yield from dicts_in(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from dicts_in(inner)


def set_number_of_classes(model: Any, number: int) -> None:
    """Give all heads of a model's config as many classes.

    Args:
        model: The config; it is changed.
        number: How many, at least 1.
    """
    for part in dicts_in(model):
        if 'num_classes' in part:
            part['num_classes'] = number
