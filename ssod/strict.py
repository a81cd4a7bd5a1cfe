"""Clear errors for misspelt settings and invalid values."""

import difflib
import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from types import UnionType
from typing import Any, TypeVar, get_args

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


def _check_numbers(owner: str, given: Mapping[str, Any], annotations: Mapping[str, Any]) -> None:
    """Refuse what is no number, or no whole one, where the annotation says so."""
    for name, value in given.items():
        annotation = annotations.get(name)
        kinds = {*get_args(annotation)} if isinstance(annotation, UnionType) else {annotation}
        if not kinds <= _NUMBERS.keys():
            continue
        # To Python, True is an integer.
        own = {bool} if isinstance(value, bool) else {*type(value).mro()}
        if not own & (kinds | {int} if float in kinds else kinds):
            wanted = ' or '.join(text for kind, text in _NUMBERS.items() if kind in kinds)
            raise ValueError(f'{owner}: {name} is {value!r}, but must be {wanted}')


_NUMBERS = {
    int: 'a whole number',
    float: 'a number',
    bool: 'True or False',
    type(None): 'None',
}


def strict_settings(cls: type[T]) -> type[T]:
    """Make a class refuse unknown keyword arguments, and numbers of a wrong kind.

    For an unknown name the nearest known one is suggested. What is annotated as ``int`` must be a
    whole number, as ``float`` a number, as ``bool`` one of the two. For classes built from a
    config, where a plain ``TypeError`` would suggest nothing, or come hours later.
    """
    init = cls.__init__
    known, annotations = settings_of(init), getattr(init, '__annotations__', {})

    @functools.wraps(init)
    def checked(self: T, *args: Any, **kwargs: Any) -> None:
        """Check the settings, then set up."""
        check_keys(cls.__name__, kwargs, known)
        _check_numbers(cls.__name__, kwargs, annotations)
        init(self, *args, **kwargs)

    cls.__init__ = checked  # type: ignore[assignment]
    return cls
