"""A run as one self-contained HTML page."""

import os
import platform
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

import torch
from mmengine.registry import init_default_scope

import ssod
from ssod.checkpoint_content import WHOSE
from ssod.data.data_sets import spread
from ssod.pseudo_labels.verdicts import Kind
from ssod.teachers.advice import remedy
from ssod.visualization.report import figures, pictures
from ssod.visualization.report.classes import ClassRow, LessonCounts
from ssod.visualization.report.images import labels_of
from ssod.visualization.report.looks import TrainedModel
from ssod.visualization.report.pictures import Picture
from ssod.visualization.report.rendering import Missing, attempt, check_page, write_page
from ssod.visualization.report.state import Run, read_run, said_alarms, score_of, start_of
from ssod.visualization.report.svg import Chart
from ssod.visualization.scalars import alarm_spans, curve_of, scores_of

SAMPLE = 64
"""How many unlabelled and how many validation images are predicted on."""
LESSONS = 6
"""How many unlabelled images are shown."""
SCORED = 8
"""How many validation images are shown."""
MISTAKES = 12
"""How many mistakes are shown."""
DRAWN = 0.3
"""Lowest score of detections that are drawn and counted on validation images."""

T = TypeVar('T')


@dataclass(frozen=True)
class Alarm:
    """An alarm of the run.

    Args:
        name: Its name.
        spans: When it was on, as text.
        on: Whether it still is.
        said: What was noticed, and the advice.
    """

    name: str
    spans: str
    on: bool
    said: str


@dataclass(frozen=True)
class Lessons:
    """What the teacher would teach now.

    Args:
        images: Number of images.
        teaching: Whether it has begun to teach.
        rows: The classes; a reason if the labels are missing.
        histogram: The scores.
        pairs: Weak and strong views.
    """

    images: int
    teaching: bool
    rows: list[ClassRow] | Missing
    histogram: Chart
    pairs: list[tuple[Picture, Picture]]


@dataclass(frozen=True)
class Validated:
    """Detections on validation images.

    Args:
        images: Number of images.
        verdicts: Number of detections of each kind, right or wrong.
        shown: Some of the images.
        mistakes: The most confident mistakes of all.
    """

    images: int
    verdicts: list[tuple[Kind, int]]
    shown: list[Picture]
    mistakes: list[Picture]


MADE_BY_RUNS = ('*/vis_data', '*/*.log', '*.pth', 'summary.json')
"""What marks the folder of a run. Any other folder, unless it is empty, is refused: a program in it
might be taken for a config and executed."""


def write_report(
    work_dir: str | os.PathLike[str], path: str | os.PathLike[str] | None = None
) -> Path:
    """Write the page of a run; works at any time, also during a run.

    Predictions are made now, with the newest checkpoint, on at most 64 unlabelled and 64 validation
    images, on the GPU if there is one. Whatever is missing is left out, and the page says why.

    Args:
        work_dir: The run's folder.
        path: The page; ``report.html`` in the folder if ``None``. Its folder is created if missing.

    Returns:
        The page's path.

    Raises:
        FileNotFoundError: If ``work_dir`` is not a folder.
        OSError: If the page cannot be written.
        ValueError: If ``work_dir`` is not a run's folder, or ``path`` does not end with ``.html``.
    """
    root = Path(work_dir)
    path = Path(path or root / 'report.html')
    check_page(path)
    is_run = any(next(root.glob(made), None) for made in MADE_BY_RUNS)
    if not is_run and root.is_dir() and any(root.iterdir()):
        raise ValueError(f'{root} is not the folder of a run: it has no logs or checkpoints')
    run = read_run(root)
    write_page(path, 'report.html', _content(run))
    return path


def _content(run: Run) -> dict[str, Any]:
    """Everything the page shows."""
    init_default_scope(run.cfg.get('default_scope') or 'mmdet')
    labels = attempt(lambda: _with_config(run, labels_of))
    checkpoint = attempt(lambda: TrainedModel(run))
    usual = None
    if not isinstance(labels, Missing) and labels[0].images:
        usual = labels[0].boxes / labels[0].images
    return {
        'command': 'tools/report.py',
        'run': run,
        'name': run.work_dir.resolve().name,
        'teacher': score_of(run.records, 'teacher'),
        'student': score_of(run.records, 'student'),
        'plain': score_of(run.records, ''),
        'start': start_of(run),
        'boxes_now': next(iter(curve_of(run.records, ['pseudo_boxes'])[-1:]), None),
        'alarms': alarms_of(run),
        'charts': figures.charts_of(run.records, run.iteration, usual),
        'ramps': attempt(lambda: figures.ramps_of(run.records, run.cfg, run.burn_in)),
        'validations': _validations(run),
        'lessons': _look(checkpoint, lambda c: _lessons(c, labels)),
        'validated': _look(checkpoint, _validated),
        'drawn': DRAWN,
        'shown': pictures.SHOWN,
        'commands': _commands(run),
        'versions': _versions(),
        'config': attempt(lambda: _config_text(run)),
    }


def alarms_of(run: Run) -> list[Alarm]:
    """The alarms of a run, in the order they first began."""
    spans: dict[str, list[tuple[int, int]]] = {}
    for name, begin, end in alarm_spans(run.records, run.iteration):
        spans.setdefault(name, []).append((begin, end))
    said = said_alarms(run.work_dir)
    alarms = []
    for name, times in spans.items():
        goes_on = bool(curve_of(run.records, [f'alarm/{name}'])[-1][1])
        text = ', '.join(f'{begin:,}–{end:,}' for begin, end in times[:5])
        more = f' and {len(times) - 5} more times' if len(times) > 5 else ''
        # The log also says what was noticed, but it may not have been kept.
        alarms.append(Alarm(name, text + more, goes_on, said.get(name) or remedy(name, {})))
    return alarms


def _with_config(run: Run, look: Callable[[Any], T]) -> T:
    if run.problem:
        raise ValueError(run.problem)
    return look(run.cfg)


def _look(checkpoint: TrainedModel | Missing, look: Callable[[TrainedModel], T]) -> T | Missing:
    """Look at images, if there is a checkpoint."""
    return checkpoint if isinstance(checkpoint, Missing) else attempt(lambda: look(checkpoint))


def _lessons(checkpoint: TrainedModel, labels: Any) -> Lessons:
    counts = LessonCounts(checkpoint.classes)
    shown = []
    for lesson in checkpoint.lessons(SAMPLE):
        # The first ones: how many there will be is not known yet.
        if counts.images < LESSONS:
            shown.append(pictures.lesson_pictures(lesson, checkpoint.classes))
        counts.add(lesson)
    rows = labels if isinstance(labels, Missing) else counts.rows(labels[0])
    teaching = checkpoint.step > 0
    return Lessons(counts.images, teaching, rows, counts.histogram(checkpoint.threshold), shown)


def _validated(checkpoint: TrainedModel) -> Validated:
    images = checkpoint.scored(SAMPLE)
    classes = checkpoint.classes
    chosen = [images[i] for i in spread(len(images), SCORED)]
    return Validated(
        len(images),
        pictures.verdict_counts(images, DRAWN),
        [pictures.scored_picture(image, classes, DRAWN) for image in chosen],
        pictures.mistake_pictures(images, classes, MISTAKES, DRAWN),
    )


def _validations(run: Run) -> list[Mapping[str, Any]]:
    """Validations with scores in points; one that a resumed run repeats counts once."""
    rows: dict[int, dict[str, float]] = {}
    for who in WHOSE:
        for name, key in (('mAP', 'bbox_mAP'), ('mAP50', 'bbox_mAP_50')):
            for step, score in scores_of(run.records, f'{who}/coco/{key}'):
                rows.setdefault(int(step), {'step': step})[f'{who}_{name}'] = score
    return [rows[step] for step in sorted(rows)]


def _commands(run: Run) -> list[tuple[str, str]]:
    """The commands that continue the run, test it and make this page."""
    if run.config is None:
        return []
    config, folder = shlex.quote(str(run.config)), shlex.quote(str(run.work_dir))
    commands = [('Continue', f'python tools/train.py {config} --work-dir {folder} --resume')]
    if run.checkpoint is not None:
        checkpoint = shlex.quote(str(run.checkpoint))
        commands.append(('Test', f'python tools/test.py {config} {checkpoint}'))
    commands.append(('This page', f'python tools/report.py {folder}'))
    return commands


def _versions() -> list[tuple[str, str]]:
    packages = ('mmdetection', 'mmengine', 'mmcv')
    return [
        ('ssod', ssod.__version__),
        ('Python', platform.python_version()),
        ('torch', torch.__version__),
        *((name, version(f'onedl-{name}')) for name in packages),
    ]


def _config_text(run: Run) -> str:
    if run.config is None:
        raise FileNotFoundError(run.problem)
    return run.config.read_text(encoding='utf-8', errors='replace')
