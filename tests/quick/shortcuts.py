"""What makes tests slow without being theirs; to be imported after all else."""

import atexit
import gc
from functools import cache

from mmengine.config import utils

# MMEngine reads all of mmdet's metafiles for each config that inherits from one of mmdet's.
utils._get_cfg_metainfo = cache(utils._get_cfg_metainfo)
# It collects garbage whenever it builds a data set, and looks through all that was imported.
gc.freeze()
atexit.register(gc.unfreeze)
