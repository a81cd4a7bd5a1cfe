"""Other methods for single objects, for a while."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def replaced(owner: object, name: str, method: Callable[..., Any]) -> Iterator[None]:
    """Let one object have another method inside this context.

    Args:
        owner: The object; others of its class keep theirs.
        name: Name of the method.
        method: What is called instead, without ``self``.
    """
    own = vars(owner)
    # mmengine's activation checkpointing, for one, puts one there.
    before = {name: own[name]} if name in own else {}
    own[name] = method
    try:
        yield
    finally:
        del own[name]
        own.update(before)
