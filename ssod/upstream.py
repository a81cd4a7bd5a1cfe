"""mmdet imported without its remarks on packages that nobody here needs."""

import contextlib
import io
import warnings

# One is printed whatever the level of the log, the other warned of: both at each start.
with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
    warnings.filterwarnings('ignore', message='faster_coco_eval is not installed')
    import mmdet.datasets
    import mmdet.evaluation  # noqa: F401
