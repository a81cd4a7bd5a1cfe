"""Trains a config, resuming if it can: ``training.py CONFIG [slow | elsewhere]``.

A slow training never finishes flushing a checkpoint to the disk, and one elsewhere runs on another
device than the CPU.
"""

import sys
import time
from contextlib import nullcontext

from mmengine.runner import Runner
from other_device import NAME, Elsewhere

from ssod import files, runs

path, how = sys.argv[1], sys.argv[2:]
if how == ['slow']:
    files.os.fsync = lambda descriptor: time.sleep(600)
cfg = runs.load_config(path)
cfg.visualizer.name = path
runs.set_resume(cfg, 'auto')
with Elsewhere() if how == [NAME] else nullcontext():
    runner = Runner.from_cfg(cfg)
    runner.train()
places = {weights.device.type for weights in runner.model.state_dict().values()}
assert places == {NAME if how == [NAME] else 'cpu'}
