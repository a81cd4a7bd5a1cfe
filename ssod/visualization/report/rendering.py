"""Fills in HTML pages, with placeholders for parts that are missing."""

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
    """A placeholder for a part that cannot be shown.

    Args:
        why: The reason.
    """

    why: str


def render(template: str, content: Mapping[str, Any]) -> str:
    """Fill in one of the pages; all text is escaped.

    Args:
        template: The file next to this module.
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
    # File names may contain bytes that are not valid characters.
    return text.encode('utf-8', 'replace').decode()


def write_page(path: Path, template: str, content: Mapping[str, Any]) -> None:
    """Write a page, completely or not at all.

    Args:
        path: The page, see :func:`check_page`; its folder is created if missing.
        template: As for :func:`render`.
        content: As for :func:`render`.

    Raises:
        OSError: If it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, render(template, content).encode())


def check_page(path: Path) -> None:
    """Refuse a page name that does not end with ``.html``.

    Raises:
        ValueError: If it does not.
    """
    if path.suffix != '.html':
        raise ValueError(f'{path} must be an HTML page; name it {path.stem}.html')


def attempt(make: Callable[[], T]) -> T | Missing:
    """Make a part of a page, or say why it cannot be made.

    Any failure is caught (an old checkpoint, data on another machine, a full GPU), because a run
    that went wrong needs its report most of all.
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
