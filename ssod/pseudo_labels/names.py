"""Finds images by their names in an annotation file, even if they were moved."""

import os
from collections.abc import Container
from pathlib import PurePath


def name_of(img_path: str, names: Container[str]) -> str | None:
    """The name of an image among given names: the longest one that its path ends with.

    Args:
        img_path: Its path; tried both as it is and as an absolute path.
        names: ``file_name`` of each image of an annotation file.

    Returns:
        The name, or ``None`` if none fits.
    """
    # As it is, too: a name may begin with "..".
    for path in (img_path, os.path.abspath(img_path)):
        name = PurePath(path).as_posix()
        while name:
            if name in names:
                return name
            name = name.partition('/')[2]
    return None
