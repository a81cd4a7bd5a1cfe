"""A progress bar on stderr that tells rate and time left."""

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
    """How many are done in a second."""

    def render(self, task: Task) -> Text:
        """The rate, once it is known."""
        rate = task.finished_speed or task.speed
        if rate is None:
            return Text('')
        return Text(f'{rate:,.0f}/s' if rate >= 100 else f'{rate:.3g}/s')


def progress_bar() -> Progress:
    """A bar with what is done of all, the rate and the time left.

    Where stderr is no terminal, it shows its last state alone.
    """
    return Progress(
        TextColumn('{task.description}'),
        BarColumn(),
        MofNCompleteColumn(),
        RateColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )
