"""Finds the images and videos a user names: files, and folders of images."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ssod.data.folder import EXTENSIONS, RealFolders, line_of_first, look_into

VIDEO_EXTENSIONS = ('.avi', '.m4v', '.mkv', '.mov', '.mp4', '.mpeg', '.mpg', '.webm', '.wmv')
"""Endings of video names, in upper or lower case."""


@dataclass(frozen=True)
class Inputs:
    """What was found, in order and each file once.

    Args:
        images: The images.
        videos: The videos.
        left_out: Why a folder may have more images, one line for each place.
        root: The folder that contains them all.
    """

    images: list[Path]
    videos: list[Path]
    left_out: list[str]
    root: Path

    def name(self, path: Path) -> str:
        """The path of a file within ``root``."""
        return path.relative_to(self.root).as_posix()


def find_inputs(given: str | Path | Iterable[str | Path], leave_out: Path) -> Inputs:
    """Find images and videos.

    Args:
        given: Images, videos, and folders of images (sub-folders included).
        leave_out: A folder from which nothing is taken, whichever links lead there.

    Raises:
        FileNotFoundError: If one does not exist, or a folder contains no image.
        ValueError: If a file is neither an image nor a video, or nothing is given.
    """
    own = os.path.join(os.path.realpath(leave_out), '')
    folders = RealFolders()
    given = as_list(given)
    inputs = Inputs([], [], [], _common_folder(given))
    in_folders: list[Path] = []
    for name in given:
        path = Path(os.path.abspath(name))
        if path.is_dir():
            there = _look_into(path, inputs, in_folders)
            images = [image for image in there if not _is_in(image, own, folders)]
            if there and not images:
                raise FileNotFoundError(
                    f'{name}: the only images in this folder and its sub-folders are in '
                    f'{leave_out}, where pictures are written; give another --out'
                )
            if not images:
                raise FileNotFoundError(
                    f'{name}: no image in this folder or its sub-folders; looked for '
                    f'{", ".join(EXTENSIONS)}; name videos one by one'
                )
            inputs.images.extend(images)
        elif _is_in(path, own, folders):
            raise ValueError(f'{name} is where pictures are written; give another --out')
        else:
            _list_for(path, inputs).append(path)
    for paths in (inputs.images, inputs.videos):
        paths[:] = dict.fromkeys(paths)
    unnamed = {path for path in in_folders if not _is_in(path, own, folders)} - set(inputs.videos)
    inputs.left_out.extend(
        line_of_first(sorted(unnamed), 'is a video in a folder', 'name videos one by one')
    )
    return inputs


def as_list(given: str | Path | Iterable[str | Path]) -> list[str | Path]:
    """The given files as a list, whether one, several or an iterator."""
    return [given] if isinstance(given, str | Path) else list(given)


def _is_in(path: Path, beginning: str, folders: RealFolders) -> bool:
    """Whether a file, or what it links to, is in a folder.

    Args:
        path: The file, as an absolute path.
        beginning: The folder's real path, with a slash at the end.
        folders: Where folders really are.
    """
    place = os.path.join(folders[str(path.parent)], path.name)
    return place.startswith(beginning) or folders.file(str(path)).startswith(beginning)


def _common_folder(given: Sequence[str | Path]) -> Path:
    if not given:
        raise ValueError('inputs: give a list of images, folders of images, or videos')
    for name in given:
        if not Path(name).exists():
            raise FileNotFoundError(
                f'{name} does not exist; give images, folders of images, or videos'
            )
    paths = [Path(os.path.abspath(name)) for name in given]
    return Path(os.path.commonpath([path if path.is_dir() else path.parent for path in paths]))


def _look_into(folder: Path, inputs: Inputs, videos: list[Path]) -> list[Path]:
    try:
        content = look_into(folder)
    except FileNotFoundError:
        return []
    others: list[Path] = []
    for path in content.others:
        (videos if path.suffix.lower() in VIDEO_EXTENSIONS else others).append(path)
    inputs.left_out.extend(content._replace(others=others).left_out)
    return content.images


def _list_for(path: Path, inputs: Inputs) -> list[Path]:
    kinds = ((EXTENSIONS, inputs.images), (VIDEO_EXTENSIONS, inputs.videos))
    for extensions, paths in kinds:
        if path.suffix.lower() in extensions:
            return paths
    raise ValueError(
        f'{path} is not named like an image or a video; its name must end with one of '
        f'{", ".join(EXTENSIONS + VIDEO_EXTENSIONS)}'
    )
