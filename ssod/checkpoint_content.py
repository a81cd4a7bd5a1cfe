"""What is in a checkpoint: whose weights, and the classes that they know.

Checkpoints come from our runs, from mmdet 3 and 2, and from other programs, so they may be weights
alone, and their ``meta`` may be anything.
"""

import hashlib
from collections.abc import Mapping
from typing import Any, Literal, get_args

import torch
from torch import Tensor

Whose = Literal['teacher', 'student']
"""Which of the two detectors."""
WHOSE: tuple[Whose, ...] = get_args(Whose)
"""Both."""


def weights_of(checkpoint: Mapping[str, Any]) -> dict[str, Tensor]:
    """The weights in a checkpoint, except the preprocessor's, which come from its config.

    Args:
        checkpoint: Its content; or weights alone, maybe of a distributed model.
    """
    given: Mapping[str, Tensor] = checkpoint.get('state_dict', checkpoint)
    names = {key: key.removeprefix('module.') for key in given}
    return {
        name: given[key] for key, name in names.items() if not name.startswith('data_preprocessor.')
    }


def models_in(weights: Mapping[str, Tensor]) -> list[Whose]:
    """Which of teacher and student weights are of; none for a plain detector's."""
    return [name for name in WHOSE if any(key.startswith(f'{name}.') for key in weights)]


def digest_of(weights: Mapping[str, Any]) -> str:
    """The SHA-256 of weights with their names, whatever their order and device.

    Args:
        weights: A model's state; whatever is no tensor does not count.
    """
    digest = hashlib.sha256()
    for name, value in sorted(weights.items()):
        if torch.is_tensor(value):
            digest.update(f'{name} {value.dtype} {tuple(value.shape)}\n'.encode())
            flat = value.detach().cpu().contiguous().flatten()
            digest.update(flat.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def classes_of(meta: Any) -> tuple[str, ...] | None:
    """The class names in a checkpoint's ``meta``, or in a data set's; ``None`` if there are none.

    Args:
        meta: Of a checkpoint; if it is anything but a dict, it names no classes.
    """
    names = _said_of_data(meta, 'classes')
    return tuple(names) if isinstance(names, list | tuple) else None


def palette_of(meta: Any) -> Any:
    """The colours of the classes, as :func:`classes_of`; a list, or one of mmdet's names."""
    return _said_of_data(meta, 'palette')


def _said_of_data(meta: Any, name: Literal['classes', 'palette']) -> Any:
    # mmdet 2 writes capitals, into meta itself.
    data_meta = meta.get('dataset_meta') if isinstance(meta, Mapping) else None
    for part in (data_meta, meta):
        for key in (name, name.upper()):
            if isinstance(part, Mapping) and part.get(key):
                return part[key]
    return None
