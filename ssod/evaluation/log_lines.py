"""The log lines of a run: one per interval of training, one per validation."""

import datetime
import re
from collections.abc import Mapping
from typing import Any

from mmdet.registry import HOOKS, LOG_PROCESSORS
from mmengine.dist import master_only
from mmengine.hooks import LoggerHook
from mmengine.runner import LogProcessor, Runner

from ssod.checkpoint_content import WHOSE
from ssod.strict import strict_settings

LOSSES = ('sup', 'pseudo', 'consistency')
"""Prefixes of the losses' names."""
MEASURED = ('pseudo_precision', 'pseudo_recall')
"""Logged only if the true boxes of the unlabelled images are known."""


@LOG_PROCESSORS.register_module()
@strict_settings
class ShortLogProcessor(LogProcessor):
    """mmengine's ``LogProcessor`` with shorter lines, for runs that count iterations.

    A training line has the rate and time left, the mAP of teacher and student at the last
    validation, pseudo-boxes per image, alarms, the losses summed by kind, and the learning rate; a
    validation line has the mAPs in points. Everything else still goes into ``scalars.json`` and the
    run's other loggers.
    """

    def get_log_after_iter(
        self, runner: Runner, batch_idx: int, mode: str
    ) -> tuple[dict[str, Any], str]:
        """The values of an iteration, and its line.

        Args:
            runner: The runner.
            batch_idx: Number of the batch in its loop.
            mode: ``'train'``, ``'val'`` or ``'test'``.
        """
        values, line = super().get_log_after_iter(runner, batch_idx, mode)
        if mode == 'train' and not self.by_epoch:
            hub = runner.message_hub
            latest = {k: v.current() for k, v in hub.log_scalars.items() if len(v.data[0])}
            left = hub.get_info('eta') if 'eta' in hub.runtime_info else None
            line = training_line(values, latest, runner.iter + 1, runner.max_iters, left)
        return values, line

    def get_log_after_epoch(
        self, runner: Runner, batch_idx: int, mode: str, with_non_scalar: bool = False
    ) -> tuple[dict[str, Any], str]:
        """The values of a validation or test, and its line.

        Args:
            runner: The runner.
            batch_idx: Number of the last batch.
            mode: ``'val'`` or ``'test'``.
            with_non_scalar: Whether to return values other than numbers too.
        """
        values, line = super().get_log_after_epoch(runner, batch_idx, mode, with_non_scalar)
        if mode == 'val' and not self.by_epoch:
            line = f'{line.partition("]")[0]}]  {scores_line(values)}'
        return values, line


@HOOKS.register_module(name='LoggerHook', force=True)
class RankZeroLoggerHook(LoggerHook):
    """Replaces mmengine's ``LoggerHook``, so that only rank 0 writes a test's scores.

    In mmengine all ranks write that file at the same time, which can mix their lines.
    """

    @master_only
    def after_test_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Log the scores and write them to ``<timestamp>.json``.

        Args:
            runner: The runner.
            metrics: The scores.
        """
        super().after_test_epoch(runner, metrics)


def training_line(
    values: Mapping[str, Any],
    latest: Mapping[str, Any],
    done: int,
    total: int,
    seconds_left: float | None = None,
) -> str:
    """One line for an iteration.

    Args:
        values: The values that mmengine logs.
        latest: The latest value of everything logged so far, validations included.
        done: Iterations so far.
        total: All iterations.
        seconds_left: Time left, if known.
    """
    parts = {}
    if values.get('time'):
        parts['rate'] = f'{1 / values["time"]:.3g}/s'
    if seconds_left is not None:
        parts['eta'] = str(datetime.timedelta(seconds=int(seconds_left)))
    for model in WHOSE:
        parts[f'{model}_mAP'] = _points(latest.get(f'val/{model}/coco/bbox_mAP'))
    boxes = values.get('pseudo_boxes')
    parts['pseudo_boxes'] = '-' if boxes is None else f'{boxes:.1f}'
    parts |= {name: f'{values[name]:.2f}' for name in MEASURED if name in values}
    begun = [k.removeprefix('alarm/') for k, v in latest.items() if k.startswith('alarm/') and v]
    parts['alarms'] = ', '.join(begun) or 'none'
    parts |= _losses(values)
    parts |= {k: f'{v:.2e}' for k, v in values.items() if k == 'lr'}
    if 'memory' in values:
        parts['memory'] = f'{values["memory"]} MB'
    told = '  '.join(f'{name}: {value}' for name, value in parts.items())
    return f'Iter(train) [{done:>{len(str(total))}}/{total}]  {told}'


def scores_line(values: Mapping[str, Any]) -> str:
    """One line for a validation: the mAPs in points, and other values as they are.

    Args:
        values: The values that mmengine logs.
    """
    parts = {}
    for name, value in values.items():
        scored = re.fullmatch(r'(teacher|student)/coco/bbox_(mAP|mAP_50)', name)
        if scored:
            parts[f'{scored[1]}_{scored[2].replace("_", "")}'] = _points(value)
        elif not re.fullmatch(r'(teacher|student)/coco/bbox_mAP_(75|s|m|l)|(data_)?time', name):
            parts[name] = f'{value:.4g}' if isinstance(value, float) else str(value)
    return '  '.join(f'{name}: {value}' for name, value in parts.items())


def _losses(values: Mapping[str, Any]) -> dict[str, str]:
    """The total loss, and its parts by kind."""
    told = {'loss': f'{values["loss"]:.3f}'} if 'loss' in values else {}
    for part in LOSSES:
        terms = [v for k, v in values.items() if k.startswith(f'{part}_') and 'loss' in k]
        if terms:
            told[part] = f'{sum(terms):.3f}'
    return told


def _points(fraction: float | None) -> str:
    # COCO's score for a set without true boxes is -1.
    return '-' if fraction is None or fraction < 0 else f'{100 * fraction:.1f}'
