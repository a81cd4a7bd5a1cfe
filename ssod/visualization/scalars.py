"""The scalars of a run, as mmengine's LoggerHook writes them."""

import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

Record = dict[str, Any]

MAP = 'coco/bbox_mAP'

STARTED_AT = 'started_at'
"""In the first record of a training: the iterations before it, 0 unless it is resumed."""
BURN_IN = 'burn_in'
"""In the same record, if there is a teacher: the iterations before it begins to teach."""


def read_scalars(work_dir: str | os.PathLike[str]) -> list[Record]:
    """Read everything a run has logged, as one history.

    A resumed run leaves one ``<timestamp>/vis_data/scalars.json`` for each start. From its first
    iteration on, a later file replaces the earlier ones, whose iterations after the checkpoint were
    lost in the interruption. Lines that are not a JSON object with a step are left out: an
    interruption may cut off the last one.

    Args:
        work_dir: The run's folder.

    Returns:
        The logged records in order, each with its ``step`` in iterations; empty if nothing has been
        logged yet.

    Raises:
        FileNotFoundError: If ``work_dir`` is not a folder.
    """
    root = Path(work_dir)
    if not root.is_dir():
        raise FileNotFoundError(f'work_dir {root} is not a folder; give the folder of a run')
    history: list[Record] = []
    for path in sorted(root.glob('*/vis_data/scalars.json')):
        records = read_file(path)
        history = _kept(history, records)
        for record in records:
            # LoggerHook numbers validations by epoch unless told otherwise, and an iteration-based
            # run is a single epoch: such a line belongs where it stands among the others.
            last = history[-1]['step'] if history else 0
            history.append({**record, 'step': max(last, record['step'])})
    return history


def _kept(history: Sequence[Record], records: Sequence[Record]) -> list[Record]:
    """The earlier records that a later file does not replace."""
    start = next((record[STARTED_AT] for record in records if STARTED_AT in record), None)
    if start is None:
        # Older runs do not log it. Take the first training line; a run that only validates has
        # none.
        start = next((record['step'] - 1 for record in records if 'iter' in record), math.inf)
    # Records at step 0 belong to the run that was there before.
    return [record for record in history if 0 < start >= record['step']]


def last_start(work_dir: str | os.PathLike[str]) -> str | None:
    """The timestamp of a run's last start that has trained; ``None`` if none has.

    Args:
        work_dir: The run's folder.
    """
    for path in sorted(Path(work_dir).glob('*/vis_data/scalars.json'), reverse=True):
        if any('iter' in record for record in read_file(path)):
            return path.parent.parent.name
    return None


def read_file(path: Path) -> list[Record]:
    """What one start of a run has logged; empty if it has only started.

    Args:
        path: Its ``scalars.json``.
    """
    records: list[Record] = []
    for line in path.read_text(encoding='utf-8', errors='replace').splitlines():
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(record, dict) and isinstance(record.get('step'), int):
            records.append(record)
    return [] if all(STARTED_AT in record for record in records) else records


def curve_of(records: Sequence[Record], keys: Sequence[str]) -> list[tuple[int, float]]:
    """A curve.

    Args:
        records: See :func:`read_scalars`.
        keys: What is summed.

    Returns:
        Step and sum of ``keys``, for records that have any of them and a finite sum.
    """
    series = []
    for record in records:
        values = [record[key] for key in keys if isinstance(record.get(key), int | float)]
        if values and math.isfinite(sum(values)):
            series.append((record['step'], float(sum(values))))
    return series


def scores_of(records: Sequence[Record], key: str) -> list[tuple[int, float]]:
    """A curve of scores in points (0-100), without COCO's -1 for a set without any true box."""
    return [(step, 100 * score) for step, score in curve_of(records, [key]) if score >= 0]


def teacher_begin(records: Sequence[Record]) -> tuple[int, float] | None:
    """Score of the start weights, the ones the teacher began with.

    Args:
        records: See :func:`read_scalars`.

    Returns:
        Step and mAP in points of the last validation up to the end of the burn-in, or, in older
        runs, which do not log that, before the first logged pseudo-boxes. ``None`` if there is
        none.
    """
    taught = [step for step, _ in curve_of(records, ['pseudo_boxes'])]
    if not taught:
        return None
    told = [value for _, value in curve_of(records, [BURN_IN])]
    end = told[-1] if told else taught[0] - 1
    before = [record for record in records if record['step'] <= end]
    scores = scores_of(before, f'teacher/{MAP}') or scores_of(before, f'student/{MAP}')
    return scores[-1] if scores else None


def alarm_spans(records: Sequence[Record], last: int) -> list[tuple[str, int, int]]:
    """When each alarm of :class:`~ssod.teachers.watch.TeacherWatchHook` was on.

    Args:
        records: See :func:`read_scalars`.
        last: The run's last iteration; alarms that are still on end there.

    Returns:
        Name, first and last iteration of each, in the order they began.
    """
    spans: list[tuple[str, int, int]] = []
    for key in sorted({key for record in records for key in record if key.startswith('alarm/')}):
        begin: int | None = None
        for step, on in [*curve_of(records, [key]), (last, 0.0)]:
            if on and begin is None:
                begin = step
            elif not on and begin is not None:
                spans.append((key.removeprefix('alarm/'), begin, step))
                begin = None
    return sorted(spans, key=lambda span: span[1])
