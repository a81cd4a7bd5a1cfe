"""A progress bar on stderr with rate and time left."""

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text


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
