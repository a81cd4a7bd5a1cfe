"""Show errors on the command line in one line."""

import difflib
import errno
import inspect
import logging
import os
import re
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmengine.registry import Registry, build_from_cfg

from ssod.strict import check_keys, settings_of

PACKAGE = Path(__file__).resolve().parent


@contextmanager
def errors_in_one_line(go_on: str = '') -> Iterator[None]:
    """Print errors that a user can fix as ``error: ...`` on stderr and exit with code 1.

    These are a ``ValueError`` or ``OSError`` that this package raises, also in a data worker, any
    ``OSError`` that names a file, an unknown name or setting in a config, and a data worker that
    was killed. An interruption (Ctrl-C) exits with code 130. Everything else is a bug and keeps its
    traceback; with ``SSOD_TRACEBACK=1`` in the environment, so do all errors. A log that cannot be
    written is not an error, and printed nowhere.

    Args:
        go_on: How to go on after an interruption, for the user.

    Raises:
        SystemExit: With code 1 or 130, instead of such an error.
    """
    # Else each line that a full disk keeps out of a log is printed with a traceback.
    logging.raiseExceptions = os.environ.get('SSOD_TRACEBACK') == '1'
    try:
        yield
    except BaseException as error:
        if os.environ.get('SSOD_TRACEBACK') == '1':
            raise
        if _is_interruption(error):
            print(f'interrupted; {go_on}' if go_on else 'interrupted', file=sys.stderr)
            sys.exit(130)
        line = _line(error) if isinstance(error, _TOLD) else None
        if line is None:
            raise
        print(f'error: {line}', file=sys.stderr)
        sys.exit(1)


REMEDIES = {
    errno.ENOENT: 'check the path',
    errno.EEXIST: 'it is not a folder, so give another name',  # From creating folders.
    errno.ENOTDIR: 'a part of the path is a file, so give another one',
    errno.EISDIR: 'give the name of a file',
    errno.EACCES: 'check the permissions',
    errno.EPERM: 'check the permissions',
    errno.EROFS: 'give a place that can be written to',
    errno.ENOSPC: 'free some space',
    errno.EDQUOT: 'free some space',
}
"""What to do about the system's errors."""

_FULL = (errno.ENOSPC, errno.EDQUOT)
"""Errors of writing, which do not name the file."""

_TOLD = (ValueError, OSError, TypeError, KeyError, RuntimeError)


def _is_interruption(error: BaseException | None) -> bool:
    """Whether an error is Ctrl-C or was caused by it, such as errors in mmengine's handlers."""
    while error is not None:
        if isinstance(error, KeyboardInterrupt):
            return True
        error = error.__cause__ or error.__context__
    return False


def _line(error: Exception) -> str | None:
    """What to tell the user; ``None`` if the error is a bug."""
    if re.search(r'DataLoader worker .*(killed|exited unexpectedly)', str(error)):
        return (
            'a data worker was killed, most likely out of memory; lower '
            'train_dataloader.num_workers, and continue with --resume'
        )
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    if isinstance(error, ValueError | OSError):
        if isinstance(error, OSError) and error.filename is not None:
            return _line_of_the_system(error)
        if isinstance(error, OSError) and error.errno in _FULL:
            return f'a file cannot be written: {error.strerror}; {REMEDIES[error.errno]}'
        files = [frame.f_code.co_filename for frame in frames]
        if _is_ours(files):
            return str(error)
        return _line_of_a_worker(str(error))
    for frame in reversed(frames):
        if frame.f_code is build_from_cfg.__code__:
            return _line_of_a_config(error, frame.f_locals)
    return None


def _line_of_the_system(error: OSError) -> str:
    """The message of an error that names a file."""
    remedy = REMEDIES.get(error.errno) if error.errno else None
    return f'{error.filename}: {error.strerror}' + (f'; {remedy}' if remedy else '')


def _line_of_a_worker(text: str) -> str | None:
    """The message of an error in a data worker, which arrives as the text of its traceback."""
    if not text.startswith('Caught ') or 'Original Traceback' not in text:
        return None
    files = re.findall(r'^  File "(.+)", line \d+', text, re.MULTILINE)
    return text.rstrip().splitlines()[-1].partition(': ')[2] if _is_ours(files) else None


def _line_of_a_config(error: Exception, names: dict[str, Any]) -> str | None:
    """The message for a class that does not exist, or that has no such setting.

    Args:
        error: What building it raised.
        names: The variables of mmengine's ``build_from_cfg``.
    """
    kind, registry = names.get('obj_type'), names.get('registry')
    cls = names.get('obj_cls')
    if isinstance(error, KeyError) and cls is None and isinstance(registry, Registry):
        near = difflib.get_close_matches(str(kind), registry.module_dict, n=1)
        hint = f'did you mean {near[0]!r}?' if near else 'import it with custom_imports'
        return f'config: there is no {registry.name} called {kind!r}; {hint}'
    key = re.search(r"unexpected keyword argument '(\w+)'", str(error))
    if isinstance(error, TypeError) and inspect.isclass(cls) and key:
        inits = [init for c in cls.__mro__ if inspect.isfunction(init := vars(c).get('__init__'))]
        known = [name for init in inits for name in settings_of(init)]
        try:
            check_keys(cls.__name__, [key[1]], known)
        except ValueError as told:
            return str(told)
    return None


def _is_ours(files: list[str]) -> bool:
    """Whether this package raised the error, given the files of its traceback."""
    return bool(files) and PACKAGE in Path(files[-1]).parents
