"""ssod: semi-supervised object detection on MMEngine and MMDetection.

Importing the package registers everything that its configs name.
"""

# First of all: mmdet needs operators that mmcv may have been installed without.
from ssod import ops  # isort: skip
from ssod import data, evaluation, models, pseudo_labels, teachers

__version__ = '0.1.0'
__all__ = ['data', 'evaluation', 'models', 'ops', 'pseudo_labels', 'teachers']
