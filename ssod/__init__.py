"""ssod: semi-supervised object detection on MMEngine and MMDetection.

Importing the package registers everything that its configs name.
"""

# First of all: mmdet needs operators that mmcv may have been installed without.
from ssod import ops  # isort: skip
from ssod import (
    checkpoints,
    data,
    evaluation,
    histories,
    models,
    pseudo_labels,
    recipes,
    seeds,
    teachers,
)

__version__ = '0.1.0'
__all__ = [
    'checkpoints',
    'data',
    'evaluation',
    'histories',
    'models',
    'ops',
    'pseudo_labels',
    'recipes',
    'seeds',
    'teachers',
]
