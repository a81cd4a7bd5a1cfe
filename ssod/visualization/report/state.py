"""What a run's folder says about the run, without data or weights."""

import inspect
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmdet.registry import HOOKS
from mmengine.config import Config

from ssod.checkpoints import latest_checkpoint
from ssod.config_parts import use_own_folder
from ssod.teachers.hook import TeacherHook
from ssod.visualization.scalars import (
    MAP,
    Record,
    curve_of,
    last_start,
    read_file,
    read_scalars,
    scores_of,
    teacher_begin,
)


@dataclass(frozen=True)
class Run:
    """A run as recorded in its folder.

    Attributes:
        work_dir: The folder.
        records: See :func:`~ssod.visualization.scalars.read_scalars`.
        summary: Content of ``summary.json`` if the run has ended; else empty.
        config: The file with its whole config; ``None`` if there is none.
        cfg: The config; empty if there is none or it cannot be read.
        problem: Why there is no config; empty if there is one.
        checkpoint: The newest; ``None`` if there is none yet.
    """

    work_dir: Path
    records: Sequence[Record]
    summary: Mapping[str, Any]
    config: Path | None
    cfg: Config
    problem: str
    checkpoint: Path | None

    @property
    def iteration(self) -> int:
        """The last known iteration."""
        logged = max((record['step'] for record in self.records), default=0)
        return max(logged, int(self.summary.get('iterations', 0)))

    @property
    def total(self) -> int | None:
        """Iterations that the config asks for, if it says so."""
        return (self.cfg.get('train_cfg') or {}).get('max_iters')

    @property
    def finished(self) -> bool:
        """Whether the training has come to its end."""
        return bool(self.summary) or (self.total is not None and self.iteration >= self.total)

    @property
    def seconds(self) -> float:
        """Time taken: from the summary if the run has ended, else estimated from the log.

        The estimate leaves out validations: the log has a line every 50 iterations, whose time is
        the mean of the last 10.
        """
        if self.summary:
            return float(self.summary['seconds'])
        done = 0
        taken = 0.0
        for step, time in self._times():
            taken += (step - done) * time
            done = step
        return taken

    @property
    def seconds_left(self) -> float | None:
        """Time for the remaining iterations at the last pace; ``None`` if unknown."""
        times = self._times()
        if self.finished or self.total is None or not times:
            return None
        return (self.total - self.iteration) * times[-1][1]

    @property
    def burn_in(self) -> int:
        """Iterations before the teacher begins."""
        return int((teacher_settings(self.cfg) or {}).get('burn_in', 0))

    def _times(self) -> list[tuple[int, float]]:
        """Iterations with their logged mean time; validations log their own times."""
        return curve_of([record for record in self.records if 'iter' in record], ['time'])


@dataclass(frozen=True)
class Score:
    """The mAP of one of the models, in points (0-100).

    Attributes:
        last: Of the last validation.
        best: The highest one.
        at: The iteration of the highest one.
    """

    last: float
    best: float
    at: int


def read_run(work_dir: str | os.PathLike[str]) -> Run:
    """Read a run's folder; works at any time, also during a run.

    Args:
        work_dir: The folder.

    Raises:
        FileNotFoundError: If it is not a folder.
    """
    root = Path(work_dir)
    records = read_scalars(root)
    config = _config_of(root)
    cfg, problem = Config(), 'There is no config in the folder.'
    if config is not None:
        try:
            cfg, problem = Config.fromfile(config), ''
            use_own_folder(cfg, config)
        # A config is a program and can fail in any way.
        except Exception as error:
            problem = f'{config.name} cannot be read: {error}'
    last = max((record['step'] for record in records), default=0)
    summary = _summary_of(root, last)
    return Run(root, records, summary, config, cfg, problem, latest_checkpoint(root))


def score_of(records: Sequence[Record], name: str) -> Score | None:
    """The scores of a model.

    Args:
        records: See :func:`~ssod.visualization.scalars.read_scalars`.
        name: ``'teacher'``, ``'student'``, or ``''`` for validations that name neither.

    Returns:
        Its scores; ``None`` before the first validation.
    """
    key = f'{name}/{MAP}' if name else MAP
    scores = scores_of(records, key)
    if not scores:
        return None
    at, best = max(scores, key=lambda pair: pair[1])
    return Score(scores[-1][1], best, at)


def start_of(run: Run) -> float | None:
    """The mAP of the weights the teacher began with, in points; ``None`` if not measured."""
    measured = run.summary.get('start_mAP')
    if isinstance(measured, int | float):
        return float(measured)
    begin = teacher_begin(run.records)
    return None if begin is None else begin[1]


def teacher_settings(cfg: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The settings of a config's teacher hook; ``None`` if it has none."""
    hooks = [*(cfg.get('default_hooks') or {}).values(), *(cfg.get('custom_hooks') or [])]
    return next((hook for hook in hooks if is_hook(hook, TeacherHook)), None)


def is_hook(settings: Any, wanted: type) -> bool:
    """Whether settings of a config are those of a hook of a given class."""
    kind = settings.get('type') if isinstance(settings, Mapping) else None
    cls = HOOKS.get(kind) if isinstance(kind, str) else kind
    return inspect.isclass(cls) and issubclass(cls, wanted)


_SAID = re.compile(r'- WARNING - watch, (\w+): (.*)$')


def said_alarms(work_dir: Path) -> dict[str, str]:
    """What the log says about each alarm, with the advice; the last line if there are several.

    Args:
        work_dir: The run's folder.
    """
    said: dict[str, str] = {}
    for path in sorted(work_dir.glob('*/*.log')):
        with path.open(encoding='utf-8', errors='replace') as file:
            for line in file:
                if found := _SAID.search(line):
                    said[found[1]] = found[2]
    return said


def _config_of(root: Path) -> Path | None:
    """The config of the last start that logged anything, else the newest one in the folder."""
    starts = sorted(root.glob('*/vis_data/config.py'))
    logged = [p for p in starts if (s := p.with_name('scalars.json')).is_file() and read_file(s)]
    others = sorted(root.glob('*.py'), key=lambda path: path.stat().st_mtime)
    return next(iter([*logged[-1:], *others[-1:], *starts[-1:]]), None)


def _summary_of(root: Path, iteration: int) -> Mapping[str, Any]:
    """The summary written at the run's end; empty if it has not ended, or was continued."""
    try:
        summary = json.loads((root / 'summary.json').read_text(encoding='utf-8'))
        # One from before the last start that trained belongs to another run in the same folder.
        is_own = 'begun' not in summary or summary['begun'] >= (last_start(root) or '')
        ended = summary['iterations'] >= iteration and summary['seconds'] >= 0
        return summary if is_own and ended else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}
