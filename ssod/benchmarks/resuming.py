"""How long a run takes to its first iteration, from the start and when resumed late."""

import time
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.hooks import Hook

from ssod import runs
from ssod.benchmarks.alone import alone
from ssod.benchmarks.stepping import unscored
from ssod.benchmarks.steps import Bench
from ssod.checkpoints import Checkpoint, load_checkpoint
from ssod.histories import ShortHistoriesHook

FAR = 100_000
"""Iterations of a long run."""

TRAINED = 2
"""Iterations that are really trained for its checkpoint."""


def resume_seconds(bench: Bench, path: Path, rounds: int = 3) -> dict[str, list[float]]:
    """Seconds from building the runner to the end of its first iteration, in turns.

    Args:
        bench: Data and settings.
        path: A semi-supervised config of this package.
        rounds: How often each run is started, in a separate process.

    Returns:
        The seconds of a run that begins at iteration 0, and of one resumed at :data:`FAR`.
    """
    cfg = unscored(bench.config(path))
    cfg.work_dir = str(bench.work_dir / 'resumed')
    far = bench.work_dir / f'iter_{FAR}.pth'
    alone(_save_far, cfg, far)
    begins = {'at 0': None, f'resumed at {FAR}': far}
    seconds: dict[str, list[float]] = {name: [] for name in begins}
    for turn in range(rounds):
        for name in list(begins)[:: -1 if turn % 2 else 1]:
            seconds[name].append(alone(_to_first, cfg, begins[name]))
    return seconds


def as_after(checkpoint: Checkpoint, iterations: int) -> Checkpoint:
    """A checkpoint with the counters and logged histories of a longer run.

    Args:
        checkpoint: From a run of this package; not modified.
        iterations: Iterations of the longer run.
    """
    checkpoint = deepcopy(checkpoint)
    checkpoint['meta']['iter'] = iterations
    hub = checkpoint['message_hub']
    hub['runtime_info'].update(iter=iterations - 1, max_iters=2 * iterations)
    for history in hub['log_scalars'].values():
        history.max_length = ShortHistoriesHook().length
        length = min(iterations, history.max_length)
        kept = [np.resize(values, length) for values in history.data]
        history._log_history, history._count_history = kept
    for state in checkpoint['optimizer']['state'].values():
        if 'step' in state:
            state['step'] = torch.full_like(state['step'], iterations)
    for schedule in checkpoint['param_schedulers']:
        schedule.update(last_step=iterations, _global_step=iterations)
    checkpoint['teacher']['updates'] = iterations
    return checkpoint


class _FirstIteration(Hook):
    """Notes when the first iteration is over."""

    priority = 'LOWEST'
    ended = 0.0

    def after_train_iter(
        self,
        runner: Any,
        batch_idx: int,
        data_batch: Any = None,
        outputs: dict[str, Any] | None = None,
    ) -> None:
        """Note when the iteration ended."""
        self.ended = time.perf_counter()


def _save_far(cfg: Config, file: Path) -> None:
    cfg.train_cfg.max_iters = TRAINED
    runs.build_runner(cfg, ('train',)).train()
    near = load_checkpoint(str(Path(cfg.work_dir) / f'iter_{TRAINED}.pth'))
    torch.save(as_after(near, FAR), file)


def _to_first(cfg: Config, checkpoint: Path | None) -> float:
    cfg.train_cfg.max_iters = 1 if checkpoint is None else FAR + 1
    cfg.default_hooks.checkpoint.save_last = False
    if checkpoint is not None:
        runs.set_resume(cfg, str(checkpoint))
    begin, first = time.perf_counter(), _FirstIteration()
    runner = runs.build_runner(cfg, ('train',))
    runner.register_hook(first)
    runner.train()
    return first.ended - begin
