"""Unlabelled images: a plain folder of files, without those that are labelled."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mmdet.datasets import BaseDetDataset, CocoDataset
from mmdet.registry import DATASETS

from ssod.data.coco_json import no_garbage_collection, read_coco
from ssod.data.load_image import printable
from ssod.strict import strict_settings

EXTENSIONS = ('.bmp', '.jpeg', '.jpg', '.png', '.tif', '.tiff', '.webp')
"""Endings of image names, in upper or lower case."""

TEXTS = ('.csv', '.json', '.md', '.txt', '.xml', '.yaml', '.yml')
"""Endings of files that often lie beside images, such as labels."""

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
        exclude: Images that are labelled or scored, and so left out: a list of dicts, each with a
            COCO JSON, ``ann_file``, and the folder of the ``images`` that it names. These paths do
            not begin in ``data_root``.

    Raises:
        FileNotFoundError: If the folder does not exist or contains no image, or an ``ann_file``
            does not exist.
        PermissionError: If it cannot be read.
        ValueError: If ``exclude`` is no such list or leaves no image, or an ``ann_file`` is not a
            COCO JSON.
    """

    METAINFO = CocoDataset.METAINFO

    def __init__(
        self,
        data_root: str,
        metainfo: Mapping[str, Any] | None = None,
        pipeline: Sequence[Any] = (),
        lazy_init: bool = False,
        exclude: Sequence[Mapping[str, str]] = (),
    ) -> None:
        self.exclude = exclude
        super().__init__(
            data_root=data_root, metainfo=metainfo, pipeline=pipeline, lazy_init=lazy_init
        )

    def load_data_list(self) -> list[dict[str, Any]]:
        """List the folder, and note in ``left_out`` why it may have more images.

        Returns:
            For each image, ``img_id``, ``img_path`` and an empty list ``instances``.
        """
        root = Path(self.data_root)
        content = look_into(root, self.exclude)
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
        linked: Those of the images that are links to files.
    """

    images: list[Path]
    others: list[Path]
    links: list[Path]
    unreadable: list[Path]
    linked: list[Path]

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
            *line_of_first(
                [path for path in self.others if path.suffix.lower() not in TEXTS],
                'is not named like an image',
                f'names must end with {", ".join(EXTENSIONS)}',
            ),
        ]


def line_of_first(paths: Sequence[Path], what: str, remedy: str) -> list[str]:
    """One line that names the first of some files and says how many more there are; or none."""
    more = f' (and {len(paths) - 1:,} more)' if len(paths) > 1 else ''
    return [f'{printable(str(path))} {what}{more}; {remedy}' for path in paths[:1]]


@no_garbage_collection()
def look_into(root: Path, exclude: Sequence[Mapping[str, str]] = ()) -> FolderContent:
    """Find the images in a folder and its sub-folders, following links, each folder once.

    Args:
        root: The folder.
        exclude: Which images are left out, see :class:`UnlabeledFolder`.

    Raises:
        FileNotFoundError: If the folder does not exist or contains no image, or a JSON of
            ``exclude`` does not exist.
        PermissionError: If it cannot be read.
        ValueError: If ``exclude`` is wrong or leaves no image.
    """
    if not root.is_dir():
        raise FileNotFoundError(f'{root} is not a folder; give a folder of images')
    content = FolderContent([], [], [], [], [])
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
    return _without(content, exclude, root) if exclude else content


@no_garbage_collection()
def named_by(content: FolderContent, exclude: Sequence[Mapping[str, str]]) -> list[set[Path]]:
    """The images of a folder that COCO JSONs name, also by other paths that lead to the same file.

    Args:
        content: The folder's.
        exclude: The JSONs and the folders of their images, see :class:`UnlabeledFolder`.

    Returns:
        The images that each of them names. Entries that name no file are left to the data checks.

    Raises:
        FileNotFoundError: If a JSON does not exist.
        ValueError: If one is not a COCO JSON, or ``exclude`` is no list of such dicts.
    """
    for part in exclude:
        if not isinstance(part, Mapping) or part.keys() != {'ann_file', 'images'}:
            raise ValueError(
                f'UnlabeledFolder: exclude has {part!r}, but must be a list of dicts, each with an '
                f'ann_file and its images'
            )
    folders, linked = RealFolders(), set(map(str, content.linked))
    # Of these only links are looked up, as the listing tells which ones are.
    files = [folders.file(path, path in linked) for path in map(str, content.images)]
    named = []
    for part in exclude:
        entries = read_coco(part['ann_file'], ('images',))['images']
        names = (entry.get('file_name') for entry in entries if isinstance(entry, dict))
        paths = (os.path.join(part['images'], name) for name in names if isinstance(name, str))
        wanted = {folders.file(path) for path in paths}
        named.append({p for p, file in zip(content.images, files, strict=True) if file in wanted})
    return named


def _without(
    content: FolderContent, exclude: Sequence[Mapping[str, str]], root: Path
) -> FolderContent:
    """The content of a folder without the images that COCO JSONs name."""
    named = set[Path]().union(*named_by(content, exclude))
    images, linked = (
        [path for path in paths if path not in named] for paths in (content.images, content.linked)
    )
    if not images:
        files = ' or '.join(part['ann_file'] for part in exclude)
        raise ValueError(
            f'{root}: each of its {len(named):,} images is also in {files}, and left out for that; '
            f'give a folder with other images, or remove entries of images without labels'
        )
    return content._replace(images=images, linked=linked)


class RealFolders(dict[str, str]):
    """Where folders really are, links resolved; each is looked up once."""

    def __missing__(self, folder: str) -> str:
        """Look a folder up."""
        try:
            self[folder] = os.path.realpath(folder)
        except ValueError:  # No file system has such a name, so it is nowhere.
            self[folder] = folder
        return self[folder]

    def file(self, path: str, may_be_link: bool = True) -> str:
        """Where a file really is.

        Args:
            path: The file.
            may_be_link: Whether to look if it is a link itself; the folder is looked up anyway.
        """
        folder, name = os.path.split(path)
        real = os.path.join(self[folder], name)
        return os.path.realpath(real) if may_be_link and os.path.islink(real) else real


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
                path, kind = Path(entry.path), _kind(entry, content)
                kind.append(path)
                if kind is content.images and entry.is_symlink():
                    content.linked.append(path)
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
