"""Pages of HTML: filling them in, and what stands in the place of what is missing."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ssod.files import write_whole

T = TypeVar('T')


@dataclass(frozen=True)
class Missing:
    """What stands in the place of a part that cannot be shown.

    Args:
        why: The reason.
    """

    why: str


def render(template: str, content: Mapping[str, Any]) -> str:
    """Fill in one of the pages; all text in it is escaped.

    Args:
        template: The file beside this module.
        content: Its variables.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters['duration'] = duration
    environment.tests['missing'] = lambda value: isinstance(value, Missing)
    made = f'{datetime.now():%Y-%m-%d %H:%M}'
    text = environment.get_template(template).render({'made': made, **content})
    # Names of files may hold what is no character.
    return text.encode('utf-8', 'replace').decode()


def write_page(path: Path, template: str, content: Mapping[str, Any]) -> None:
    """Write a page, whole or not at all.

    Args:
        path: The page, see :func:`check_page`; its folder is made if missing.
        template: As for :func:`render`.
        content: As for :func:`render`.

    Raises:
        OSError: If it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, render(template, content).encode())


def check_page(path: Path) -> None:
    """Refuse a place for a page that is not called like one.

    Raises:
        ValueError: If it is not called ``.html``.
    """
    if path.suffix != '.html':
        raise ValueError(f'{path} is to be a page of HTML; call it {path.stem}.html')


def attempt(make: Callable[[], T]) -> T | Missing:
    """Make a part of a page, or say why it cannot be made.

    Whatever fails, an old checkpoint, data of another machine or a full GPU: a report of a run that
    went wrong is wanted most of all.
    """
    try:
        return make()
    except Exception as error:
        text = ' '.join(str(error).split())
        ours = isinstance(error, OSError | ValueError) and text
        return Missing(text if ours else f'{type(error).__name__}: {text}')


def duration(seconds: float) -> str:
    """A time in words, such as ``2 h 05 min``."""
    minutes = round(seconds / 60)
    if seconds < 60:
        return f'{seconds:.0f} s'
    if minutes < 60:
        return f'{minutes} min'
    return f'{minutes // 60} h {minutes % 60:02d} min'
