"""Unlabelled images: a plain folder of files."""

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mmdet.datasets import BaseDetDataset, CocoDataset
from mmdet.registry import DATASETS

from ssod.data.load_image import printable
from ssod.strict import strict_settings

EXTENSIONS = ('.bmp', '.jpeg', '.jpg', '.png', '.tif', '.tiff', '.webp')
"""Endings of image names, in upper or lower case."""

THUMBNAILS = '@eaDir'
"""Folders in which Synology's storage keeps small copies of the images next to them."""


@DATASETS.register_module()
@strict_settings
class UnlabeledFolder(BaseDetDataset):
    """All images in a folder and its sub-folders, without an annotation file.

    They are sorted by path. ``img_id`` is an image's path within the folder, so it stays the same
    when others are added. Images are not opened until they are used. Names that begin with a dot
    are skipped, and the thumbnails in ``@eaDir``, which Synology's storage adds.

    Args:
        data_root: The folder.
        metainfo: Classes of the labelled images; a ``ConcatDataset`` needs them to agree. Missing
            entries are those of COCO, as for a ``CocoDataset``.
        pipeline: Configs of transforms.
        lazy_init: Whether to list the folder only when an image is needed.

    Raises:
        FileNotFoundError: If the folder does not exist or contains no image.
        PermissionError: If it cannot be read.
    """

    METAINFO = CocoDataset.METAINFO

    def __init__(
        self,
        data_root: str,
        metainfo: Mapping[str, Any] | None = None,
        pipeline: Sequence[Any] = (),
        lazy_init: bool = False,
    ) -> None:
        super().__init__(
            data_root=data_root, metainfo=metainfo, pipeline=pipeline, lazy_init=lazy_init
        )

    def load_data_list(self) -> list[dict[str, Any]]:
        """List the folder.

        Returns:
            For each image, ``img_id``, ``img_path`` and an empty list ``instances``.
        """
        root = Path(self.data_root)
        return [
            {'img_id': path.relative_to(root).as_posix(), 'img_path': str(path), 'instances': []}
            for path in look_into(root).images
        ]


class FolderContent(NamedTuple):
    """The sorted content of a folder and its sub-folders, without hidden names and thumbnails.

    Args:
        images: The images.
        others: Other files.
        links: Broken links, and links to folders that were already listed.
        unreadable: Folders that cannot be read.
    """

    images: list[Path]
    others: list[Path]
    links: list[Path]
    unreadable: list[Path]

    @property
    def broken(self) -> list[Path]:
        """Links that are named like images and lead nowhere."""
        named = (path for path in self.links if path.suffix.lower() in EXTENSIONS)
        return [path for path in named if not os.path.exists(path)]


def look_into(root: Path) -> FolderContent:
    """Find the images in a folder and its sub-folders, following links, each folder once.

    Raises:
        FileNotFoundError: If the folder does not exist or contains no image.
        PermissionError: If it cannot be read.
    """
    if not root.is_dir():
        raise FileNotFoundError(f'{root} is not a folder; give a folder of images')
    content = FolderContent([], [], [], [])
    seen: set[str] = set()

    def refused(error: OSError) -> None:
        """Note a folder that cannot be read."""
        content.unreadable.append(Path(error.filename))

    for folder, folders, files in os.walk(root, followlinks=True, onerror=refused):
        real = os.path.realpath(folder)
        if real in seen:
            content.links.append(Path(folder))
            folders.clear()
            continue
        seen.add(real)
        if not os.access(folder, os.X_OK):  # At most its names can be listed.
            content.unreadable.append(Path(folder))
            folders.clear()
            continue
        folders[:] = sorted(n for n in folders if not n.startswith('.') and n != THUMBNAILS)
        for path in (Path(folder, name) for name in files if not name.startswith('.')):
            _kind(path, content).append(path)
    for paths in content:
        paths.sort(key=str)
    if root in content.unreadable:
        raise PermissionError(f'{root} cannot be read; check its permissions')
    if not content.images:
        found = Counter(path.suffix or 'no extension' for path in content.others)
        others = ', '.join(f'{n} with {suffix}' for suffix, n in found.most_common(3))
        told = f'files: {others}' if others else 'no file'
        if content.broken:
            told += f', and links that lead nowhere, such as {printable(str(content.broken[0]))}'
        raise FileNotFoundError(
            f'no image in {root} or its sub-folders; looked for {", ".join(EXTENSIONS)}, found '
            f'{told}'
        )
    return content


def left_out(unreadable: Iterable[Path], broken: Iterable[Path]) -> list[str]:
    """Why a folder may have more images than were found, one line for each place.

    Args:
        unreadable: Folders that cannot be read.
        broken: Links that lead nowhere.
    """
    return [
        *(f'{printable(str(path))} cannot be read; check its permissions' for path in unreadable),
        *(f'{printable(str(path))} leads nowhere; copy what it links to' for path in broken),
    ]


def _kind(path: Path, content: FolderContent) -> list[Path]:
    """The list that a file belongs to."""
    try:
        is_file = path.is_file()
    except PermissionError:  # From a folder that a link leads to.
        is_file = False
    if not is_file:
        return content.links
    return content.images if path.suffix.lower() in EXTENSIONS else content.others
