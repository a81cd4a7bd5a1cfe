"""Progress bars on stderr."""

import os
from collections.abc import Iterable, Sequence
from typing import TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
    track,
)
from rich.text import Text

T = TypeVar('T')


class RateColumn(ProgressColumn):
    """How many are done per second."""

    def render(self, task: Task) -> Text:
        """The rate, once it is known."""
        rate = task.finished_speed or task.speed
        if rate is None:
            return Text('')
        return Text(f'{rate:,.0f}/s' if rate >= 100 else f'{rate:.3g}/s')


def progress_bar() -> Progress:
    """A bar with the number done, the total, the rate and the time left.

    If stderr is not a terminal, only its last state is shown.
    """
    return Progress(
        TextColumn('{task.description}'),
        BarColumn(),
        MofNCompleteColumn(),
        RateColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )


def with_progress(items: Sequence[T], what: str) -> Iterable[T]:
    """Go through items with a progress bar, which disappears at the end.

    If stderr is not a terminal, nothing is shown. Of the processes that a launcher starts on a
    machine, only the first one shows it.

    Args:
        items: The items.
        what: What is being done.
    """
    console = Console(stderr=True)
    if not console.is_terminal or os.environ.get('LOCAL_RANK', '0') != '0':
        return items
    return track(items, what, console=console, transient=True)
