"""Checks for images that two data sets share but should not."""

from collections.abc import Hashable, Mapping, Sequence
from itertools import combinations

from ssod.checks.findings import Finding
from ssod.checks.reports import Report
from ssod.data.data_sets import SCORED, Role
from ssod.data.folder import RealFolders
from ssod.data.load_image import printable


def check_shared(
    reports: Sequence[Report], digests: Mapping[str, Hashable] | None = None
) -> list[Finding]:
    """Warn of images that are both labelled and unlabelled, or both trained on and scored.

    Args:
        reports: The data sets, those for training first.
        digests: A hash of the content for each image's path. With them copies are found too;
            without, only the same file in two data sets, also through links.
    """
    folders = RealFolders()
    files = [{folders.file(i.path): i.path for i in report.images} for report in reports]
    findings = []
    for (one, mine), (other, theirs) in combinations(zip(reports, files, strict=True), 2):
        remedy = _remedy(one.data_set.role, other.data_set.role)
        if remedy is None:
            continue
        shared = mine.keys() & theirs.keys()
        findings += _say(one, other, [mine[file] for file in shared], 'are also in', remedy)
        known = digests or {}
        mine_by, theirs_by = (
            {known[p]: p for file, p in some.items() if file not in shared and p in known}
            for some in (mine, theirs)
        )
        copies = [mine_by[digest] for digest in mine_by.keys() & theirs_by.keys()]
        findings += _say(one, other, copies, 'have copies in', remedy)
    return findings


def _say(one: Report, other: Report, paths: Sequence[str], how: str, remedy: str) -> list[Finding]:
    if not paths:
        return []
    example, theirs = printable(min(paths)), printable(other.data_set.file)
    what = f'{len(paths):,} of its images {how} {theirs}, such as {example}'
    return [Finding('warning', printable(one.data_set.file), what, remedy)]


def _remedy(one: Role, other: Role) -> str | None:
    """What to do about images in two data sets of these roles; ``None`` if it is fine."""
    if other in SCORED and one not in SCORED:
        return f'a leak: {other} scores will be too high; remove them from the training data'
    if {one, other} == {'labeled', 'unlabeled'}:
        return 'remove them from the unlabelled images, unless you mean to use them twice'
    return None
