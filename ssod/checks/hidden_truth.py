"""Checks the hidden truth of unlabelled images, which only diagnostics read."""

from collections.abc import Sequence

from mmengine.config import Config

from ssod.checks.findings import Finding, finding_of
from ssod.checks.reports import Report
from ssod.pseudo_labels.hidden_truth import HiddenTruth


def check_hidden_truth(cfg: Config, reports: Sequence[Report]) -> list[Finding]:
    """Check the hidden truth of the unlabelled images, if the config has one.

    Args:
        cfg: The config.
        reports: Reports on its data.
    """
    quality = (cfg.get('default_hooks') or {}).get('quality') or {}
    file = quality.get('ann_file')
    unlabeled = [report for report in reports if report.data_set.role == 'unlabeled']
    if not file or not unlabeled or any(r.data_set.kind == 'other' for r in unlabeled):
        return []
    try:
        truth = HiddenTruth(file, unlabeled[0].data_set.classes or ())
        truth.check(image.path for report in unlabeled for image in report.images)
    except (OSError, ValueError) as error:
        return [finding_of(error, file)]
    return []
