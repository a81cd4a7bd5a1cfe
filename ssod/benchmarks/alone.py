"""Calls in processes of their own."""

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any, TypeVar

T = TypeVar('T')


def new_process() -> ProcessPoolExecutor:
    """A process for one call after another that has nothing of this one and may have workers."""
    return ProcessPoolExecutor(1, mp_context=get_context('spawn'))


def alone(function: Callable[..., T], *arguments: Any) -> T:
    """Call a function in a process that does nothing else.

    Args:
        function: Of a module.
        arguments: What can be pickled, as the result has to be.
    """
    with new_process() as process:
        return process.submit(function, *arguments).result()
