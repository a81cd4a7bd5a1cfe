"""Imports mmdet without its messages about packages that ssod does not need."""

import contextlib
import io
import warnings

# One is printed at any log level, the other is a warning; both appear at each start.
with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
    warnings.filterwarnings('ignore', message='faster_coco_eval is not installed')
    import mmdet.datasets
    import mmdet.evaluation  # noqa: F401
