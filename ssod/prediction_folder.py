"""The folder of a call's predictions, and what earlier calls left in it."""

import json
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any

from ssod.data.coco_json import read_coco, write_json
from ssod.data.folder import EXTENSIONS
from ssod.files import check_new, remove_unfinished

NAME = 'predictions.json'
"""The COCO JSON that is written."""


def picture_of_video(name: str) -> str:
    """The name of the picture of a video, which is an mp4."""
    # The whole name stays, because there may be clip.avi and clip.mov.
    return name if name.lower().endswith('.mp4') else f'{name}.mp4'


def picture_of(name: str) -> str:
    """The name of the picture of an image in the COCO JSON; for a video's frame, the video's."""
    path = PurePosixPath(name)
    return name if path.suffix.lower() in EXTENSIONS else picture_of_video(str(path.parent))


class PredictionFolder:
    """A folder with ``predictions.json`` and ``pictures``.

    While a call is at work, a hidden file lists the pictures that it may draw. It stays if the call
    is interrupted, so that a later one knows which pictures are not the user's.

    Args:
        root: The folder; :meth:`begin` creates it.

    Attributes:
        file: The COCO JSON.
        pictures: The folder of the pictures.
    """

    def __init__(self, root: Path) -> None:
        self.file = root / NAME
        self.pictures = root / 'pictures'
        self._begun = root / f'.{NAME}.begun'

    def check_nothing_is_lost(self) -> None:
        """Refuse to replace an earlier call's results, or to write among unrelated pictures.

        Raises:
            FileExistsError: If there is a COCO JSON, or there are pictures without one.
        """
        check_new(self.file, False, 'remove it, or pass --overwrite or another --out')
        if not self._begun.exists() and self.pictures.is_dir() and any(self.pictures.iterdir()):
            raise FileExistsError(
                f'{self.pictures} has files and no {NAME} next to it, so they may not be ours; '
                f'pass another --out, or --overwrite to write among them'
            )

    def begin(self, pictures: Iterable[str]) -> None:
        """Note the pictures that may be drawn, besides those of interrupted calls."""
        self._interrupted = _pictures_noted(self._begun)
        self._begun.parent.mkdir(parents=True, exist_ok=True)
        # One that is there is the user's, or known to be ours.
        new = {name for name in pictures if not os.path.lexists(self.pictures / name)}
        write_json(self._begun, sorted(self._interrupted | new))

    def give_up(self) -> None:
        """Leave the folder as it was found; nothing was drawn."""
        if self._interrupted:
            write_json(self._begun, sorted(self._interrupted))
            return
        self._begun.unlink()
        with suppress(OSError):  # The folder is not empty if it was there before.
            self._begun.parent.rmdir()

    def finish(self, content: dict[str, Any]) -> None:
        """Write the COCO JSON; pictures of earlier calls that were not drawn again are removed."""
        drawn = _pictures(content)
        earlier = self._inside(self._interrupted | _pictures_listed(self.file))
        for folder in {path.parent for path in earlier.values()}:
            remove_unfinished(folder)
        for name in earlier.keys() - drawn:
            earlier[name].unlink(missing_ok=True)
        write_json(self.file, content)
        self._begun.unlink()

    def _inside(self, names: Iterable[str]) -> dict[str, Path]:
        """Those of the pictures that no link or ``..`` leads elsewhere."""
        root = Path(os.path.realpath(self.pictures))
        paths = {name: self.pictures / name for name in names}
        return {
            name: path
            for name, path in paths.items()
            if Path(os.path.realpath(path.parent)).is_relative_to(root)
            and (path.is_symlink() or not path.is_dir())
        }


def _pictures(content: dict[str, Any]) -> set[str]:
    return {picture_of(image['file_name']) for image in content['images']}


def _pictures_listed(file: Path) -> set[str]:
    """The pictures of a COCO JSON; none if there is no such file, or it is another kind."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        return _pictures(read_coco(file))
    return set()


def _pictures_noted(begun: Path) -> set[str]:
    """The pictures that calls which were interrupted may have drawn."""
    with suppress(OSError, ValueError, TypeError):
        return {str(name) for name in json.loads(begun.read_bytes())}
    return set()
