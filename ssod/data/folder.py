"""Unlabelled images: a plain folder of files."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
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
        """List the folder, and note in ``left_out`` why it may have more images.

        Returns:
            For each image, ``img_id``, ``img_path`` and an empty list ``instances``.
        """
        root = Path(self.data_root)
        content = look_into(root)
        self.left_out = content.left_out
        return [
            {'img_id': path.relative_to(root).as_posix(), 'img_path': str(path), 'instances': []}
            for path in content.images
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

    @property
    def left_out(self) -> list[str]:
        """Why the folder may have more images, one line for each place."""
        unreadable = (printable(str(path)) for path in self.unreadable)
        broken = (printable(str(path)) for path in self.broken)
        return [
            *(f'{path} cannot be read; check its permissions' for path in unreadable),
            *(f'{path} leads nowhere; copy what it links to' for path in broken),
        ]


def look_into(root: Path) -> FolderContent:
    """Find the images in a folder and its sub-folders, following links, each folder once.

    Raises:
        FileNotFoundError: If the folder does not exist or contains no image.
        PermissionError: If it cannot be read.
    """
    if not root.is_dir():
        raise FileNotFoundError(f'{root} is not a folder; give a folder of images')
    content = FolderContent([], [], [], [])
    _walk(root, content)
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


class RealFolders(dict[str, str]):
    """Where folders really are, links resolved; each is looked up once."""

    def __missing__(self, folder: str) -> str:
        """Look a folder up."""
        self[folder] = os.path.realpath(folder)
        return self[folder]

    def file(self, path: str) -> str:
        """Where a file really is."""
        folder, name = os.path.split(path)
        real = os.path.join(self[folder], name)
        return os.path.realpath(real) if os.path.islink(real) else real


def _walk(root: Path, content: FolderContent) -> None:
    """List a folder and its sub-folders, without asking for each file."""
    seen: set[str] = set()
    waiting = [str(root)]
    while waiting:
        folder = waiting.pop()
        try:
            with os.scandir(folder) as listed:
                entries = [entry for entry in listed if not entry.name.startswith('.')]
        except OSError:
            content.unreadable.append(Path(folder))
            continue
        real = os.path.realpath(folder)
        if real in seen:
            content.links.append(Path(folder))
            continue
        seen.add(real)
        if not os.access(folder, os.X_OK):  # At most its names can be listed.
            content.unreadable.append(Path(folder))
            continue
        folders = {entry.name: entry.path for entry in entries if _is_folder(entry)}
        for entry in entries:
            if entry.name not in folders:
                _kind(entry, content).append(Path(entry.path))
        # The first one last, because the last one comes next.
        names = sorted(folders.keys() - {THUMBNAILS}, reverse=True)
        waiting.extend(folders[name] for name in names)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether an entry of a folder is a folder, or a link to one."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def _kind(entry: os.DirEntry[str], content: FolderContent) -> list[Path]:
    """The list that a file belongs to."""
    try:
        # Only a link needs to be looked at: the listing says what all else is.
        is_file = Path(entry).is_file() if entry.is_symlink() else entry.is_file()
    except PermissionError:  # From a folder that a link leads to.
        is_file = False
    if not is_file:
        return content.links
    suffix = os.path.splitext(entry.name)[1]
    return content.images if suffix.lower() in EXTENSIONS else content.others
