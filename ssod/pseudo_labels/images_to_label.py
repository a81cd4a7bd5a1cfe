"""The images for a model to label: each once, under a unique name."""

import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import PurePath
from typing import Any, NamedTuple

from mmdet.registry import DATASETS
from mmengine.dataset import pseudo_collate
from mmengine.runner import Runner
from torch.utils.data import DataLoader, Dataset

from ssod.data.data_sets import DataSet
from ssod.data.folder import UnlabeledFolder
from ssod.data.load_image import BrokenImageError


class Batch(NamedTuple):
    """A batch of images, some of which may be unreadable.

    Args:
        names: Names of the readable images.
        data: The readable images as model input; ``None`` if there are none.
        broken: Why the others cannot be read, one line each.
    """

    names: list[str]
    data: Any
    broken: list[str]


class ImagesToLabel:
    """All images of some data sets.

    An image that is in several of them counts once.

    Args:
        data_sets: At least one.
        steps: Configs of the transforms that prepare an image.

    Attributes:
        root: The common folder of all images, as an absolute path.
        names: Their paths within it, in order.
        places: For each data set its image folder, and its annotation file or folder.
        left_out: Why a folder may have more images, one line for each place.
    """

    def __init__(
        self, data_sets: Sequence[DataSet], steps: Sequence[Mapping[str, Any]] = ()
    ) -> None:
        self.places = [[os.path.abspath(p) for p in (d.image_dir, d.file)] for d in data_sets]
        self.root = os.path.commonpath([images for images, _ in self.places])
        self.left_out: list[str] = []
        self._found: dict[str, tuple[Any, int]] = {}
        for data_set in data_sets:
            built = DATASETS.build({**data_set.cfg, 'pipeline': list(steps)})
            if isinstance(built, UnlabeledFolder):
                self.left_out += built.left_out
            for i in range(len(built)):
                path = os.path.relpath(built.get_data_info(i)['img_path'], self.root)
                self._found.setdefault(PurePath(path).as_posix(), (built, i))
        self.names = list(self._found)

    def loader(self, done: Collection[str], batch_size: int, num_workers: int) -> DataLoader[Batch]:
        """A loader of the images, batch by batch, in order.

        Args:
            done: Names of images to leave out; at least one image must remain.
            batch_size: Images per batch.
            num_workers: Number of worker processes.
        """
        left = [(name, *found) for name, found in self._found.items() if name not in done]
        loader: DataLoader[Batch] = Runner.build_dataloader(
            dict(
                batch_size=batch_size,
                num_workers=num_workers,
                sampler=dict(type='DefaultSampler', shuffle=False),
                dataset=_Readable(left),
                collate_fn=_collate,
            )
        )
        return loader


class _Readable(Dataset[Batch]):
    """Images one by one; a broken one is reported instead of raised."""

    def __init__(self, images: Sequence[tuple[str, Any, int]]) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Batch:
        name, data_set, place = self.images[index]
        try:
            return Batch([name], data_set[place], [])
        except BrokenImageError as error:
            return Batch([], None, [str(error)])


def _collate(images: Sequence[Batch]) -> Batch:
    data = [image.data for image in images if image.names]
    return Batch(
        [name for image in images for name in image.names],
        pseudo_collate(data) if data else None,
        [why for image in images for why in image.broken],
    )
