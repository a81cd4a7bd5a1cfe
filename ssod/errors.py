"""Errors of the command line, told in one line."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent


@contextmanager
def errors_in_one_line() -> Iterator[None]:
    """Print what a user can mend as ``error: ...`` on stderr and exit with code 1.

    That is a ``ValueError`` or ``OSError`` that this package raises, and any ``OSError`` that names
    a file. Everything else is a bug and keeps its traceback; so do all of them if the environment
    says ``SSOD_TRACEBACK=1``.

    Raises:
        SystemExit: With code 1, in the place of such an error.
    """
    try:
        yield
    except (ValueError, OSError) as error:
        names_a_file = isinstance(error, OSError) and error.filename is not None
        if os.environ.get('SSOD_TRACEBACK') == '1' or not (names_a_file or _is_ours(error)):
            raise
        print(f'error: {error}', file=sys.stderr)
        sys.exit(1)


def _is_ours(error: BaseException) -> bool:
    """Whether the ``raise`` stands in this package."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and PACKAGE in Path(trace.tb_frame.f_code.co_filename).parents
