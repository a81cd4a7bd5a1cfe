"""ssod: semi-supervised object detection on MMEngine and MMDetection.

Importing the package registers everything that its configs name. What the tools do is also
available as functions, see :mod:`ssod.api`.
"""

from typing import TYPE_CHECKING, Any

# First: mmdet needs operators that mmcv may have been installed without.
from ssod import ops  # isort: skip
from ssod import upstream  # isort: skip # noqa: F401
from ssod import (
    checkpoints,
    data,
    evaluation,
    histories,
    models,
    param_groups,
    precision,
    pseudo_labels,
    recipes,
    seeds,
    teachers,
)

if TYPE_CHECKING:
    from ssod.api import (
        OwnData,
        export_onnx,
        predict,
        pseudo_label,
        publish,
        sweep_thresholds,
        train,
    )

__version__ = '0.1.0'
__all__ = [
    'OwnData',
    'checkpoints',
    'data',
    'evaluation',
    'export_onnx',
    'histories',
    'models',
    'ops',
    'param_groups',
    'precision',
    'predict',
    'pseudo_label',
    'pseudo_labels',
    'publish',
    'recipes',
    'seeds',
    'sweep_thresholds',
    'teachers',
    'train',
]

_VERBS = (
    'OwnData',
    'export_onnx',
    'predict',
    'pseudo_label',
    'publish',
    'sweep_thresholds',
    'train',
)


def __dir__() -> list[str]:
    """All names, including the functions that are not imported yet."""
    return sorted({*globals(), *__all__})


def __getattr__(name: str) -> Any:
    """Import a function when it is first used, because it may need the whole package."""
    if name not in _VERBS:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    from ssod import api

    return getattr(api, name)
