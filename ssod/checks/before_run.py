"""Everything that can be checked in a config's data before a run, without opening an image."""

import logging
from collections.abc import Sequence

from mmengine.config import Config
from mmengine.dist import broadcast_object_list, is_main_process
from mmengine.logging import print_log

from ssod.checks.classes import check_head
from ssod.checks.descriptions import check_exists
from ssod.checks.evaluators import check_evaluators
from ssod.checks.findings import Finding, errors_of, some
from ssod.checks.leaks import check_shared
from ssod.checks.reports import Report, report_on
from ssod.data.data_sets import SCORED, DataSet, Part, data_sets_of

SHOWN = 2
"""Errors that the message shows; ``tools/check_data.py`` shows all."""


def check_data_of(cfg: Config, parts: Sequence[Part] = ('train', 'val')) -> None:
    """Refuse a config whose data would crash its run or teach it something wrong.

    Annotation files are read, images are not opened; warnings go to the log. In a distributed run
    rank 0 checks, and all ranks fail alike.

    Args:
        cfg: The config.
        parts: Which loaders will be used.

    Raises:
        FileNotFoundError: If an annotation file or a folder of unlabelled images does not exist.
        ValueError: If anything else is wrong; shows the first errors, in one line.
    """
    problem = [_problem(cfg, parts) if is_main_process() else None]
    broadcast_object_list(problem)
    if problem[0] is not None:
        raise problem[0]


def report_on_all(cfg: Config, parts: Sequence[Part]) -> tuple[list[Finding], list[Report]]:
    """Check everything except the content of images and the images that data sets share.

    Args:
        cfg: The config.
        parts: Which loaders will be used.

    Returns:
        The findings, and the report of each data set. What two loaders share is checked once.
    """
    data_sets = data_sets_of(cfg, parts)
    reports = _report_once(data_sets)
    findings = [finding for report in reports for finding in report.findings]
    findings += _check_same_classes(data_sets)
    for data_set in data_sets[:1]:
        if isinstance(data_set.classes, list | tuple):
            findings += check_head(cfg.get('model'), data_set.classes)
    for role in SCORED:
        if role in parts and cfg.get(f'{role}_evaluator'):
            findings += check_evaluators(cfg[f'{role}_evaluator'], role, reports)
    # Two parts may be scored against the same file.
    return list(dict.fromkeys(findings)), reports


def _problem(cfg: Config, parts: Sequence[Part]) -> Exception | None:
    """Log the warnings, and sum up the errors."""
    missing = [f for data_set in data_sets_of(cfg, parts) for f in check_exists(data_set)]
    if missing:
        return FileNotFoundError(str(missing[0]))
    findings, reports = report_on_all(cfg, parts)
    findings += check_shared(reports)
    for finding in findings:
        if finding.severity == 'warning':
            print_log(str(finding), 'current', logging.WARNING)
    errors = [str(error) for error in errors_of(findings)]
    if not errors:
        return None
    rest = f' | {len(errors) - SHOWN} more errors' if len(errors) > SHOWN else ''
    told = ' | '.join(errors[:SHOWN]) + rest
    return ValueError(
        f'{told} | to see all, run tools/check_data.py with {cfg.filename} and the same data, '
        f'--detector and --cfg-options'
    )


def _report_once(data_sets: Sequence[DataSet]) -> list[Report]:
    """Report on each data set; findings are not repeated for a test set that is the val set."""
    reports: dict[tuple[str, ...], Report] = {}
    found = []
    for data_set in data_sets:
        role = 'scored' if data_set.role in SCORED else data_set.role
        key = (role, data_set.file, data_set.image_dir, str(data_set.classes))
        if key in reports:
            found.append(Report(data_set, [], ids=reports[key].ids))
        else:
            reports[key] = report_on(data_set)
            found.append(reports[key])
    return found


def _check_same_classes(data_sets: Sequence[DataSet]) -> list[Finding]:
    """Check that all have the same classes: mmdet compares those of the training data only."""
    findings = []
    for data_set in data_sets[1:]:
        first, classes = data_sets[0].classes, data_set.classes
        if first and classes and list(first) != list(classes):
            what = f'has {some(list(classes))}, but {data_sets[0].where} has {some(list(first))}'
            where = f'{data_set.where}.metainfo.classes'
            findings.append(Finding('error', where, what, 'give all data sets the same classes'))
    return findings
