"""What makes tests slow without being theirs."""

import atexit
import gc
from functools import cache

from mmengine.config import utils

import ssod.api  # noqa: F401

# MMEngine reads all of mmdet's metafiles for each config that inherits from one of mmdet's.
utils.load = cache(utils.load)
# It collects garbage whenever it builds a data set, and looks through all that was imported.
gc.freeze()
atexit.register(gc.unfreeze)
