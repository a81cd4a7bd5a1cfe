"""Clear errors for misspelt settings and invalid values."""

import difflib
import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

T = TypeVar('T')


def settings_of(function: Callable[..., Any]) -> list[str]:
    """The names by which a function or an ``__init__`` takes what it is given."""
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    parameters = inspect.signature(function).parameters.values()
    return [p.name for p in parameters if p.kind in named and p.name != 'self']


def check_keys(owner: str, given: Iterable[str], known: Iterable[str]) -> None:
    """Refuse settings that ``owner`` does not know.

    Args:
        owner: What the settings belong to, for the message.
        given: The names that the user wrote.
        known: The names that exist.

    Raises:
        ValueError: Names the first unknown key and the nearest known one.
    """
    known = list(known)
    for key in given:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
            hint = f'did you mean {near[0]!r}?' if near else f'known: {", ".join(known)}'
            raise ValueError(f'{owner}: unknown setting {key!r}; {hint}')


def check_ranges(owner: str, *checks: tuple[str, object, bool, str]) -> None:
    """Refuse settings with invalid values.

    Args:
        owner: What the settings belong to, for the message.
        checks: For each setting its name, its value, whether that is valid, and what it must be.

    Raises:
        ValueError: Names the first invalid setting, and what it must be.
    """
    for name, value, valid, wanted in checks:
        if not valid:
            raise ValueError(f'{owner}: {name} is {value}, but must be {wanted}')


def strict_settings(cls: type[T]) -> type[T]:
    """Make a class refuse unknown keyword arguments, and suggest the nearest known name.

    For classes built from a config, because a plain ``TypeError`` would not suggest anything.
    """
    init = cls.__init__
    known = settings_of(init)

    @functools.wraps(init)
    def checked(self: T, *args: Any, **kwargs: Any) -> None:
        """Check the settings, then set up."""
        check_keys(cls.__name__, kwargs, known)
        init(self, *args, **kwargs)

    cls.__init__ = checked  # type: ignore[assignment]
    return cls
