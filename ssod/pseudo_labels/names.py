"""Images by the names that an annotation file gives them, wherever they lie now."""

import os
from collections.abc import Container
from pathlib import PurePath


def name_of(img_path: str, names: Container[str]) -> str | None:
    """Which of some names an image has: the longest one that its path ends with.

    Args:
        img_path: Its path; as it is spelt, and from the root.
        names: ``file_name`` of each image of an annotation file.

    Returns:
        The name, ``None`` if it has none of them.
    """
    # As it is spelt, too: a name may begin with "..".
    for path in (img_path, os.path.abspath(img_path)):
        name = PurePath(path).as_posix()
        while name:
            if name in names:
                return name
            name = name.partition('/')[2]
    return None
