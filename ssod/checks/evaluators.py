"""Checks of the files that detections are scored against."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from ssod.checks.classes import check_classes
from ssod.checks.coco import check_coco
from ssod.checks.coco_fields import shown
from ssod.checks.findings import Finding, finding_of
from ssod.checks.reports import Report
from ssod.data.coco_json import read_coco
from ssod.data.data_sets import Role
from ssod.data.load_image import printable


def check_evaluators(evaluators: Any, role: Role, reports: Sequence[Report]) -> list[Finding]:
    """Check that a part's images are scored against their own annotations.

    Args:
        evaluators: ``val_evaluator`` or ``test_evaluator``: a config, or a list of them.
        role: The part.
        reports: The data sets of that part.
    """
    configs = evaluators if isinstance(evaluators, list | tuple) else [evaluators]
    files = [c.get('ann_file') for c in configs if isinstance(c, Mapping)]
    findings = []
    for report in (r for r in reports if r.data_set.role == role and r.ids):
        for file in dict.fromkeys(files):
            if isinstance(file, str) and '://' not in file and not _same(file, report):
                findings += _check_other_file(file, role, report)
    return findings


def _same(file: str, report: Report) -> bool:
    return os.path.realpath(file) == os.path.realpath(report.data_set.file)


def _check_other_file(file: str, role: Role, report: Report) -> list[Finding]:
    """Check that another file than the data set's own has its images and its classes."""
    name = printable(file)
    try:
        content = read_coco(file, ())
    except (OSError, ValueError) as error:
        return [finding_of(error, name)]
    findings = check_coco(content, name, role)
    if any(finding.severity == 'error' for finding in findings):
        return findings
    findings += check_classes(content, report.data_set.classes or (), name, role)
    missing = list(set(report.ids) - {image['id'] for image in content['images']})
    if missing:
        own = printable(report.data_set.file)
        what = f'has no image with the id {shown(missing[0])}, but {own} has'
        remedy = f'set {role}_evaluator.ann_file to the ann_file of {role}_dataloader'
        findings.append(Finding('error', name, what, remedy, len(missing)))
    return findings
