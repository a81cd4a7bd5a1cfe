"""What a check found, one line each."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

Severity = Literal['error', 'warning']
"""``error``: training would be wrong or crash; ``warning``: worth knowing."""


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    Args:
        severity: How severe it is.
        file: The file, folder or setting at fault.
        what: What is wrong, with the name of the first entry at fault.
        remedy: What to do about it.
        count: How many entries have the same fault.
    """

    severity: Severity
    file: str
    what: str
    remedy: str
    count: int = 1

    def __str__(self) -> str:
        more = f' (and {self.count - 1:,} more)' if self.count > 1 else ''
        return f'{self.file}: {self.what}{more}; {self.remedy}'


def first_of(severity: Severity, file: str, faults: Sequence[str], remedy: str) -> list[Finding]:
    """One finding for many entries with the same fault; none if there are none.

    Args:
        severity: How severe it is.
        file: The file they are in.
        faults: What is wrong with each entry.
        remedy: What to do about it.
    """
    return [Finding(severity, file, faults[0], remedy, len(faults))] if faults else []


def finding_of(problem: Exception | str, file: str, severity: Severity = 'error') -> Finding:
    """Turn one of this package's messages into a finding.

    Args:
        problem: The message: ``file``, what is wrong, ``; `` and the remedy.
        file: The file.
        severity: How severe it is.
    """
    what, _, remedy = str(problem).removeprefix(f'{file} ').partition('; ')
    return Finding(severity, file, what, remedy or 'check the file')


def errors_of(findings: Iterable[Finding]) -> list[Finding]:
    """The findings that are errors."""
    return [finding for finding in findings if finding.severity == 'error']


def refuse_errors(findings: Iterable[Finding]) -> None:
    """Refuse if there is an error.

    Raises:
        ValueError: Names the first one.
    """
    for error in errors_of(findings):
        raise ValueError(str(error))


def some(names: Sequence[str], limit: int = 5) -> str:
    """Some names as text: ``a, b and 3 more``, or ``none``."""
    rest = len(names) - limit
    return ', '.join(names[:limit]) + (f' and {rest} more' if rest > 0 else '') or 'none'
