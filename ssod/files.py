"""Files that are whole or not there."""

import errno
import os
import uuid
from pathlib import Path

UNFINISHED = '.unfinished'
"""What the name of a file ends with until it is whole."""


def write_whole(path: str | Path, content: bytes) -> None:
    """Write a file aside, flush it to the disk, and move it to its place.

    Whoever interrupts, ``path`` holds all of the old content or all of the new one.

    Args:
        path: The file; its directory must exist.
        content: All of it.

    Raises:
        OSError: If it cannot be written; names ``path``, which stays as it was.
    """
    path = Path(path)
    # Two processes may write the same file at once, of two machines too.
    aside = path.with_name(f'.{path.name}.{uuid.uuid4().hex}{UNFINISHED}')
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
        aside.unlink(missing_ok=True)


def remove_unfinished(directory: str | Path) -> None:
    """Remove what killed processes left of their files."""
    for path in Path(directory).glob(f'.*{UNFINISHED}'):
        path.unlink(missing_ok=True)


def _flush_directory(directory: Path) -> None:
    """Make a change of name last through a power cut, where the file system knows how to."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network and FUSE mounts flush files alone.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)


def check_new(file: Path, overwrite: bool, remedy: str) -> None:
    """Refuse to write over something.

    Args:
        file: What is to be written.
        overwrite: Whether a file may be replaced.
        remedy: What to do where it may not.

    Raises:
        FileExistsError: If the file is there and may not be replaced.
        ValueError: If it is a folder.
    """
    if file.is_dir():
        raise ValueError(f'{file} is a folder; give the name of a file')
    if file.exists() and not overwrite:
        raise FileExistsError(f'{file} exists; {remedy}')
