"""Trains in forked processes, so that a test can kill one without paying for its imports.

Reads lines of ``CONFIG here``, ``CONFIG slow`` or ``CONFIG elsewhere`` from stdin and trains each,
resuming if it can; prints the process's number when it begins and its exit code when it ended. A
slow one never comes to the end of flushing a checkpoint to the disk, and one elsewhere trains on
another device than the CPU.
"""

import os
import sys
import time

# What mmdet and its runs print is not for the test.
answers = os.fdopen(os.dup(1), 'w')
os.dup2(2, 1)

from contextlib import nullcontext  # noqa: E402

from mmengine.runner import Runner  # noqa: E402
from other_device import NAME, Elsewhere  # noqa: E402

from ssod import files, runs  # noqa: E402


def train(path: str, how: str) -> None:
    """Train what a config says."""
    if how == 'slow':
        files.os.fsync = lambda descriptor: time.sleep(600)
    cfg = runs.load_config(path)
    cfg.visualizer.name = path
    runs.set_resume(cfg, 'auto')
    with Elsewhere() if how == NAME else nullcontext():
        runner = Runner.from_cfg(cfg)
        runner.train()
    places = {weights.device.type for weights in runner.model.state_dict().values()}
    assert places == {NAME if how == NAME else 'cpu'}


for line in sys.stdin:
    config, how = line.split()
    child = os.fork()
    if child == 0:
        train(config, how)
        os._exit(0)
    print(child, file=answers, flush=True)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    print(code, file=answers, flush=True)
