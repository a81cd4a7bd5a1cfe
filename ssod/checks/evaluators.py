"""Checks of the files that detections are scored against."""

import inspect
import os
from collections.abc import Mapping, Sequence
from typing import Any

from mmdet.evaluation import CocoMetric
from mmdet.registry import METRICS

from ssod.checks.classes import check_classes
from ssod.checks.coco import check_coco, check_for_pycocotools
from ssod.checks.coco_fields import shown
from ssod.checks.findings import Finding, errors_of, finding_of
from ssod.checks.reports import Report
from ssod.data.coco_json import read_coco
from ssod.data.data_sets import Role
from ssod.data.load_image import printable
from ssod.evaluation.fast_coco import FastCocoMetric


def check_evaluators(evaluators: Any, role: Role, reports: Sequence[Report]) -> list[Finding]:
    """Check that a part's images are scored against their own annotations, and can be.

    Args:
        evaluators: ``val_evaluator`` or ``test_evaluator``: a config, or a list of them.
        role: The part.
        reports: The data sets of that part.
    """
    configs = evaluators if isinstance(evaluators, list | tuple) else [evaluators]
    metrics = [c for c in configs if isinstance(c, Mapping)]
    by_pycocotools = [c.get('ann_file') for c in metrics if _uses_pycocotools(c.get('type'))]
    findings = []
    for report in (r for r in reports if r.data_set.role == role and r.ids):
        for file in dict.fromkeys(c.get('ann_file') for c in metrics):
            if isinstance(file, str) and '://' not in file:
                findings += _check_file(file, role, report, file in by_pycocotools)
    return findings


def _uses_pycocotools(kind: Any) -> bool:
    cls = METRICS.get(kind) if isinstance(kind, str) else kind
    is_coco = inspect.isclass(cls) and issubclass(cls, CocoMetric)
    return is_coco and not issubclass(cls, FastCocoMetric)


def _same(file: str, report: Report) -> bool:
    return os.path.realpath(file) == os.path.realpath(report.data_set.file)


def _check_file(file: str, role: Role, report: Report, pycocotools: bool) -> list[Finding]:
    """Check a file of true boxes; the data set's own was checked, except for pycocotools."""
    own = _same(file, report)
    if own and not pycocotools:
        return []
    name = printable(file)
    try:
        content = read_coco(file, ())
    except (OSError, ValueError) as error:
        return [finding_of(error, name)]
    findings = [] if own else _check_other_content(content, name, role, report)
    if pycocotools and not errors_of(findings):
        findings += check_for_pycocotools(content['annotations'], name)
    return findings


def _check_other_content(content: Any, name: str, role: Role, report: Report) -> list[Finding]:
    """Check that another file than the data set's own has its images and its classes."""
    findings = check_coco(content, name, role)
    if errors_of(findings):
        return findings
    findings += check_classes(content, report.data_set.classes or (), name, role)
    missing = list(set(report.ids) - {image['id'] for image in content['images']})
    if missing:
        own = printable(report.data_set.file)
        what = f'has no image with the id {shown(missing[0])}, but {own} has'
        remedy = f'set {role}_evaluator.ann_file to the ann_file of {role}_dataloader'
        findings.append(Finding('error', name, what, remedy, len(missing)))
    return findings
