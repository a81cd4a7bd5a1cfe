"""Files that are either complete or absent."""

import errno
import fcntl
import json
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

UNFINISHED = '.unfinished'
"""In the name of a file that is not complete yet."""


def unfinished(path: Path, suffix: str = '') -> Path:
    """A new name in the same folder, for what will be moved to ``path`` once it is complete.

    However long the name of ``path`` is, this one has at most 209 bytes; file systems allow 255.
    """
    # Two processes may write the same file at once, even on two machines.
    return path.with_name(f'.{path.name[:40]}.{uuid.uuid4().hex}{UNFINISHED}{suffix}')


def write_whole(path: str | Path, content: bytes) -> None:
    """Write to a temporary file, flush it to the disk, and move it to its place.

    Whenever this is interrupted, ``path`` holds either the old or the new content, complete.

    Args:
        path: The file; its directory must exist.
        content: The whole content.

    Raises:
        OSError: If it cannot be written; names ``path``, which stays unchanged.
    """
    path = Path(path)
    aside = unfinished(path)
    try:
        with open(aside, 'wb') as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
        _flush_directory(path.parent)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        with suppress(OSError):  # It is missing, or the file system is read-only.
            aside.unlink()


def write_indented(path: str | Path, content: Any) -> None:
    """Write JSON that people read too; see :func:`write_whole`.

    Args:
        path: The file; its directory must exist.
        content: Anything :func:`json.dumps` takes.
    """
    write_whole(path, (json.dumps(content, indent=2) + '\n').encode())


def remove_unfinished(directory: str | Path) -> None:
    """Remove unfinished files of killed processes."""
    for path in Path(directory).glob(f'.*{UNFINISHED}*'):
        path.unlink(missing_ok=True)


def _flush_directory(directory: Path) -> None:
    """Make a renaming survive a power cut, if the file system supports that."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network and FUSE mounts flush only files.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)


def check_new(file: Path, overwrite: bool, remedy: str) -> None:
    """Refuse to overwrite something.

    Args:
        file: The file to write.
        overwrite: Whether a file may be replaced.
        remedy: What to do if it may not.

    Raises:
        FileExistsError: If the file exists and may not be replaced.
        ValueError: If it is a folder.
    """
    if file.is_dir():
        raise ValueError(f'{file} is a folder; give the name of a file')
    if file.exists() and not overwrite:
        raise FileExistsError(f'{file} exists; {remedy}')


def other_content(file: Path) -> FileExistsError:
    """The error for a file that would be replaced, but has other content."""
    return FileExistsError(f'{file} exists with other content; remove it, or pass --overwrite')


@contextmanager
def alone_in(directory: Path) -> Iterator[None]:
    """Refuse to do what another process is doing in the same directory; it is created if missing.

    However the other one ends, it is over then. On a file system without locks, nothing is refused.

    Raises:
        BlockingIOError: If another process is inside this context.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with open(directory / '.lock', 'w') as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BlockingIOError(
                f'{directory} is in use by another process; wait until it ends, or end it'
            ) from None
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.ENOTSUP):
                raise
        yield
