"""Train many steps at a small size, and watch memory, file handles and logs.

Prints resident memory and open files of the main process and the data worker, and the size of the
logs; exits with code 1 if memory grew by more than 28 MB after the first fifth, or the number of
open files at all. The scenes are small, but every part runs: burn-in, pseudo-boxes, validation,
checkpoints, logs.
"""

import os
import sys
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner

from ssod.arguments import count, tool_parser
from ssod.errors import errors_in_one_line
from ssod.files import write_indented
from ssod.runs import build_runner, load_config

CONFIG = 'configs/mt_fasterrcnn_digits10pct.py'
SCENES = dict(image_size=48, digits_per_image=(1, 2), digit_height=(12, 20), val_images=10)
NAMES = ('iteration', 'main_MB', 'worker_MB', 'files', 'worker_files', 'logs_kB')
MAY_GROW_MB = 28.0
"""Allocators and caches vary; a leak of 2 kB in each of the last 16,000 steps is 32 MB."""


class Meter(Hook):
    """Measures at equal intervals."""

    priority = 'LOWEST'

    def __init__(self, interval: int) -> None:
        self.interval = interval
        self.rows: list[dict[str, float]] = []

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Measure."""
        if not self.every_n_train_iters(runner, self.interval):
            return
        main = os.getpid()
        children = Path(f'/proc/{main}/task/{main}/children').read_text().split()
        logs = sum(f.stat().st_size for f in Path(runner.log_dir).rglob('*') if f.is_file())
        values = (
            runner.iter + 1,
            resident(main),
            max(map(resident, children)),
            open_files(main),
            max(map(open_files, children)),
            logs / 1000,
        )
        self.rows.append(dict(zip(NAMES, values, strict=True)))
        print(
            '  '.join(f'{name} {value:,.0f}' for name, value in self.rows[-1].items()), flush=True
        )


def resident(process: int | str) -> float:
    """Resident memory of a process in MB."""
    pages = int(Path(f'/proc/{process}/statm').read_text().split()[1])
    return pages * os.sysconf('SC_PAGE_SIZE') / 1e6


def open_files(process: int | str) -> int:
    """Number of a process's open files."""
    return len(os.listdir(f'/proc/{process}/fd'))


def small_config(iters: int, work_dir: str) -> Config:
    """The main example with tiny images."""
    cfg = load_config(CONFIG, work_dir)
    data_root = f'{work_dir}/data/'
    for dataset in (*cfg.train_dataloader.dataset.datasets, cfg.val_dataloader.dataset):
        dataset.update(data_root=data_root, scenes=SCENES)
    cfg.val_evaluator.ann_file = data_root + 'annotations/val.json'
    cfg.default_hooks.quality.ann_file = data_root + 'annotations/unlabeled_truth.json'
    cfg.train_dataloader.batch_size = 2
    cfg.train_dataloader.sampler.source_ratio = [1, 1]
    cfg.train_cfg.update(max_iters=iters, val_interval=max(iters // 5, 1))
    cfg.default_hooks.teacher.update(burn_in=iters // 20)
    cfg.default_hooks.checkpoint.update(interval=max(iters // 5, 1), max_keep_ckpts=2)
    return cfg


def grown(rows: list[dict[str, float]]) -> list[str]:
    """What is larger at the end than after the first fifth, by when everything has run once."""
    first, last = rows[max(len(rows) // 5, 1) - 1], rows[-1]
    allowed = dict(main_MB=MAY_GROW_MB, worker_MB=MAY_GROW_MB, files=0, worker_files=0)
    return [name for name, more in allowed.items() if last[name] > first[name] + more]


def main() -> None:
    parser = tool_parser(__doc__)
    parser.add_argument('--iters', type=count, default=20_000, help='training steps')
    parser.add_argument('--work-dir', default='work_dirs/soak')
    args = parser.parse_args()
    meter = Meter(max(args.iters // 20, 1))
    with errors_in_one_line():
        runner = build_runner(small_config(args.iters, args.work_dir))
        runner.register_hook(meter)
        runner.train()
    write_indented(Path(args.work_dir, 'soak.json'), meter.rows)
    names = grown(meter.rows)
    if names:
        print(f'grew after the first fifth: {", ".join(names)}')
        sys.exit(1)


if __name__ == '__main__':
    main()
