"""What mmdet's heads hold besides modules and tensors."""

from collections.abc import Iterator
from typing import Any

from torch import nn


def task_modules_of(model: nn.Module) -> Iterator[Any]:
    """All that a model's modules have as attributes: assigners, samplers, coders and other values.

    Args:
        model: The model. Its heads may have one of a kind, or a list of them, one for each stage.
    """
    for module in model.modules():
        for value in vars(module).values():
            yield from value if isinstance(value, list) else [value]
