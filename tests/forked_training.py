"""Trains in forked processes, so that a test can kill one without paying for its imports.

Reads lines of ``CONFIG`` or ``CONFIG slow`` from stdin and trains each, resuming if it can; prints
the process's number when it begins and its exit code when it ended. A slow one never
comes to the end of flushing a checkpoint to the disk.
"""

import os
import sys
import time

# What mmdet and its runs print is not for the test.
answers = os.fdopen(os.dup(1), 'w')
os.dup2(2, 1)

from mmengine.runner import Runner  # noqa: E402

from ssod import files, runs  # noqa: E402


def train(path: str, slow: bool) -> None:
    """Train what a config says."""
    if slow:
        files.os.fsync = lambda descriptor: time.sleep(600)
    cfg = runs.load_config(path)
    cfg.visualizer.name = path
    runs.set_resume(cfg, 'auto')
    Runner.from_cfg(cfg).train()


for line in sys.stdin:
    config, *options = line.split()
    child = os.fork()
    if child == 0:
        train(config, 'slow' in options)
        os._exit(0)
    print(child, file=answers, flush=True)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    print(code, file=answers, flush=True)
