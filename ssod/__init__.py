"""ssod: semi-supervised object detection on MMEngine and MMDetection.

Importing the package registers everything that its configs name. What the tools do is also
available as functions, see :mod:`ssod.api`.
"""

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

# Last: these need the whole package.
from ssod.api import (  # isort: skip
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
