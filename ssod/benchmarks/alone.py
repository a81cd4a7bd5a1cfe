"""Calls in separate processes."""

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any, TypeVar

T = TypeVar('T')


def new_process() -> ProcessPoolExecutor:
    """A process for successive calls that inherits nothing from this one and may have workers."""
    return ProcessPoolExecutor(1, mp_context=get_context('spawn'))


def alone(function: Callable[..., T], *arguments: Any) -> T:
    """Call a function in a process that does nothing else.

    Args:
        function: A module-level function.
        arguments: They must be picklable, and so must the result.
    """
    with new_process() as process:
        return process.submit(function, *arguments).result()
