"""Unlabelled images that are just a folder of files."""

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmdet.datasets import BaseDetDataset, CocoDataset
from mmdet.registry import DATASETS

from ssod.strict import strict_settings

EXTENSIONS = ('.bmp', '.jpeg', '.jpg', '.png', '.tif', '.tiff', '.webp')
"""What an image's name ends with, in any case."""


@DATASETS.register_module()
@strict_settings
class UnlabeledFolder(BaseDetDataset):
    """All images of a folder and its sub-folders, without any annotation file.

    In order of their paths. ``img_id`` is an image's path within the folder, so it stays when
    others are added. Images are not opened before they are used; names that begin with a dot are
    passed over.

    Args:
        data_root: The folder.
        metainfo: Classes of the labelled images. A ``ConcatDataset`` wants it to be as there;
            what is not given is COCO's, as for a ``CocoDataset``.
        pipeline: Configs of transforms.
        lazy_init: Whether to wait with looking into the folder until an image is wanted.

    Raises:
        FileNotFoundError: If the folder does not exist or no image is in it.
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
        """Look into the folder.

        Returns:
            For each image ``img_id``, ``img_path`` and no ``instances``.
        """
        root = Path(self.data_root)
        if not root.is_dir():
            raise FileNotFoundError(
                f'UnlabeledFolder: data_root {root} is no folder; give one that holds the '
                f'unlabelled images'
            )
        files = sorted(_walk(root), key=str)
        images = [path for path in files if path.suffix.lower() in EXTENSIONS]
        if not images:
            found = Counter(path.suffix or 'no extension' for path in files)
            others = ', '.join(f'{n} with {suffix}' for suffix, n in found.most_common(3))
            raise FileNotFoundError(
                f'UnlabeledFolder: no image in {root} or its sub-folders; looked for '
                f'{", ".join(EXTENSIONS)}, found {f"files: {others}" if others else "no file"}'
            )
        return [
            {'img_id': path.relative_to(root).as_posix(), 'img_path': str(path), 'instances': []}
            for path in images
        ]


def _walk(root: Path) -> Iterator[Path]:
    """All files below a folder, through symbolic links too, each folder once."""
    seen: set[str] = set()
    for folder, folders, files in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith('.'))
        for name in files:
            path = Path(folder, name)
            if not name.startswith('.') and path.is_file():
                yield path
