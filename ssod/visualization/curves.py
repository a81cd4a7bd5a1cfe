"""The curves of a run, read from the scalars that mmengine's LoggerHook writes."""

import json
import math
import os
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ssod.files import write_whole

Record = dict[str, Any]

# Okabe and Ito's palette, whose colours colour-blind readers can tell apart; the line styles differ
# as well, for black-and-white prints.
TEACHER = '#0072B2'
STUDENT = '#D55E00'
CONSISTENCY = '#009E73'
NEUTRAL = '#5A5A5A'
ALARM = '#CC79A7'

LOSS_STYLES = {
    'supervised': (STUDENT, '--'),
    'pseudo-label': (TEACHER, '-'),
    'consistency': (CONSISTENCY, '-.'),
    'total': (STUDENT, '-'),
}
LOSS_PREFIXES = {'supervised': 'sup_', 'pseudo-label': 'pseudo_', 'consistency': 'consistency_'}

MAP = 'coco/bbox_mAP'

STARTED_AT = 'started_at'
"""In the first record of a training: the iterations before it, 0 unless it is resumed."""
BURN_IN = 'burn_in'
"""In the same record, if there is a teacher: the iterations before it begins to teach."""

NAMED_ALARMS = 5
"""How many alarms the title names."""


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


def plot_curves(work_dir: str | os.PathLike[str], path: str | os.PathLike[str]) -> None:
    """Draw a run's curves; works at any time, also during a run.

    Four panels over the iterations: mAP of teacher and student in points (0-100), with that of the
    start weights; precision and recall of the pseudo-boxes against the hidden truth (0-1);
    pseudo-boxes per image; and the summed losses. A panel without data says so. While an alarm of
    :class:`~ssod.teachers.watch.TeacherWatchHook` was on, every panel is shaded, and the title
    names it.

    Args:
        work_dir: The run's folder.
        path: The picture to write, 1500 x 1050 pixels as PNG; its folder is created if missing.

    Raises:
        FileNotFoundError: If ``work_dir`` is not a folder.
    """
    records = read_scalars(work_dir)
    figure = Figure(figsize=(10, 7), dpi=150, layout='constrained')
    FigureCanvasAgg(figure)
    last = max((record['step'] for record in records), default=0)
    alarms = alarm_spans(records, last)
    heading = _heading(Path(work_dir).resolve().name, alarms)
    figure.suptitle(heading, color=NEUTRAL, parse_math=False)
    panels: list[tuple[str, str, Callable[[Axes, list[Record]], str]]] = [
        ('COCO mAP on the validation images', 'mAP (points)', _draw_map),
        ('Pseudo-boxes against the hidden truth', 'fraction', _draw_quality),
        ('Pseudo-boxes', 'boxes per unlabelled image', _draw_boxes),
        ('Losses', 'loss (no unit)', _draw_losses),
    ]
    for axes, (title, unit, draw) in zip(figure.subplots(2, 2).flat, panels, strict=True):
        axes.set_title(title, loc='left', fontsize='medium', fontweight='bold')
        missing = draw(axes, records)
        if missing:
            axes.set(xticks=[], yticks=[], facecolor='#F7F7F7')
            axes.spines[:].set_visible(False)
            axes.text(0.5, 0.5, missing, color=NEUTRAL, ha='center', transform=axes.transAxes)
            continue
        for _, begin, end in alarms:
            axes.axvspan(begin, end, color=ALARM, alpha=0.15, linewidth=1)
        axes.set_xlim(0, 1.02 * max(last, 1))
        axes.set_xlabel('iteration')
        axes.set_ylabel(unit)
        axes.grid(color='#E4E4E4', linewidth=0.8)
        axes.spines[['top', 'right']].set_visible(False)
        axes.legend(frameon=False)
    path, picture = Path(path), BytesIO()
    figure.savefig(picture, format=path.suffix[1:] or 'png')
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, picture.getvalue())


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


def _heading(name: str, alarms: list[tuple[str, int, int]]) -> str:
    named = [f'{alarm} {begin}–{end}' for alarm, begin, end in alarms[:NAMED_ALARMS]]
    if len(alarms) > NAMED_ALARMS:
        named.append(f'{len(alarms) - NAMED_ALARMS} more')
    return f'{name}\nalarms: {", ".join(named)}' if alarms else name


def _draw_map(axes: Axes, records: list[Record]) -> str:
    """Draw the scores; if there are none, return what is missing, as every panel does."""
    teacher = _scores(records, f'teacher/{MAP}')
    student = _scores(records, f'student/{MAP}')
    drawn = [
        # mmengine's own validation loop does not say whose boxes it scores.
        _line(axes, _scores(records, MAP), 'model', NEUTRAL, '-.', scale=100),
        _line(axes, teacher, 'teacher', TEACHER, '-', scale=100),
        # Dashed and on top, because during the burn-in the teacher is a copy of the student.
        _line(axes, student, 'student', STUDENT, '--', scale=100),
    ]
    begin = teacher_begin(records)
    if begin is not None:
        step, level = begin
        end = max(step for step, _ in [*teacher, *student])
        label = f'start weights {100 * level:.1f}'
        axes.hlines(100 * level, step, end, NEUTRAL, ':', label=label, linewidth=2)
    _from_zero(axes)
    return '' if any(drawn) else 'no validation yet'


def teacher_begin(records: Sequence[Record]) -> tuple[int, float] | None:
    """Score of the start weights, the ones the teacher began with.

    Args:
        records: See :func:`read_scalars`.

    Returns:
        Step and mAP (0-1) of the last validation up to the end of the burn-in, or, in older runs,
        which do not log that, before the first logged pseudo-boxes. ``None`` if there is none.
    """
    taught = [step for step, _ in curve_of(records, ['pseudo_boxes'])]
    if not taught:
        return None
    told = [value for _, value in curve_of(records, [BURN_IN])]
    end = told[-1] if told else taught[0] - 1
    before = [record for record in records if record['step'] <= end]
    scores = _scores(before, f'teacher/{MAP}') or _scores(before, f'student/{MAP}')
    return scores[-1] if scores else None


def _scores(records: Sequence[Record], key: str) -> list[tuple[int, float]]:
    """A curve of scores, without COCO's -1 for a set without any true box."""
    return [(step, score) for step, score in curve_of(records, [key]) if score >= 0]


def _draw_quality(axes: Axes, records: list[Record]) -> str:
    precision = curve_of(records, ['pseudo_precision'])
    recall = curve_of(records, ['pseudo_recall'])
    drawn = [
        _line(axes, precision, 'precision', TEACHER, '-'),
        _line(axes, recall, 'recall', STUDENT, '--'),
    ]
    axes.set_ylim(-0.02, 1.02)
    return '' if any(drawn) else 'no hidden truth, or no pseudo-boxes yet'


def _draw_boxes(axes: Axes, records: list[Record]) -> str:
    boxes = curve_of(records, ['pseudo_boxes'])
    drawn = _line(axes, boxes, 'above the threshold', TEACHER, '-')
    _from_zero(axes)
    return '' if drawn else 'no pseudo-boxes yet'


def _draw_losses(axes: Axes, records: list[Record]) -> str:
    groups = loss_groups(records)
    for name, series in groups.items():
        _line(axes, series, name, *LOSS_STYLES[name])
    if not groups:
        return 'no losses yet'
    if wide([value for series in groups.values() for _, value in series]):
        axes.set_yscale('log')
        axes.yaxis.set_major_formatter('{x:g}')
    else:
        _from_zero(axes)
    return ''


def loss_groups(records: Sequence[Record]) -> dict[str, list[tuple[int, float]]]:
    """The summed losses of each kind.

    Returns:
        Curves by ``supervised``, ``pseudo-label`` and ``consistency``, for those there are; the
        ``total`` of a run that does not separate its losses.
    """
    keys = sorted({key for record in records for key in record if 'loss' in key})
    groups = {
        name: curve_of(records, [key for key in keys if key.startswith(prefix)])
        for name, prefix in LOSS_PREFIXES.items()
    }
    if not any(groups.values()):
        groups = {'total': curve_of(records, ['loss'])}
    return {name: series for name, series in groups.items() if series}


def wide(values: Sequence[float]) -> bool:
    """Whether values need a logarithmic axis, and can have one."""
    return min(values) > 0 and max(values) > 20 * min(values)


def _from_zero(axes: Axes) -> None:
    """Start the axis at zero, with a margin that keeps a line at zero clear of the frame."""
    axes.set_ylim(bottom=-0.02 * axes.get_ylim()[1])


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


def _line(
    axes: Axes,
    series: list[tuple[int, float]],
    label: str,
    colour: str,
    style: str,
    scale: float = 1,
) -> bool:
    if not series:
        return False
    steps, values = zip(*series, strict=True)
    values = tuple(scale * value for value in values)
    # Markers show the points of a short series, above all a single one, but clutter a long one.
    marker = 'o' if len(series) <= 30 else None
    axes.plot(
        steps,
        values,
        style,
        color=colour,
        label=f'{label} (last {values[-1]:.3g})',
        marker=marker,
        markersize=3.5,
        linewidth=1.8,
    )
    return True
