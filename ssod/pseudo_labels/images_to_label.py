"""The images that a model is to label: each once, under names that tell them apart."""

import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import PurePath
from typing import Any, NamedTuple

from mmdet.registry import DATASETS
from mmengine.dataset import pseudo_collate
from mmengine.runner import Runner
from torch.utils.data import DataLoader, Dataset

from ssod.data.data_sets import DataSet
from ssod.data.load_image import BrokenImageError


class Batch(NamedTuple):
    """Some images, as far as they can be read.

    Args:
        names: What those that can be read are called.
        data: They, as a model takes them; ``None`` if there is none.
        broken: Why others cannot be read, one line each.
    """

    names: list[str]
    data: Any
    broken: list[str]


class ImagesToLabel:
    """All images of some data sets.

    An image that several of them have is there once.

    Args:
        data_sets: At least one.
        steps: Configs of the transforms that prepare an image.

    Attributes:
        root: The folder that all are in, as an absolute path.
        names: Their paths within it, in order.
        places: Of each data set, where its images are and its annotation file or folder.
    """

    def __init__(
        self, data_sets: Sequence[DataSet], steps: Sequence[Mapping[str, Any]] = ()
    ) -> None:
        self.places = [[os.path.abspath(p) for p in (d.image_dir, d.file)] for d in data_sets]
        self.root = os.path.commonpath([images for images, _ in self.places])
        self._found: dict[str, tuple[Any, int]] = {}
        for data_set in data_sets:
            built = DATASETS.build({**data_set.cfg, 'pipeline': list(steps)})
            for i in range(len(built)):
                path = os.path.relpath(built.get_data_info(i)['img_path'], self.root)
                self._found.setdefault(PurePath(path).as_posix(), (built, i))
        self.names = list(self._found)

    def loader(self, done: Collection[str], batch_size: int, num_workers: int) -> DataLoader[Batch]:
        """Loads them batch by batch, in order.

        Args:
            done: Names of those that are left out; at least one image must be left.
            batch_size: Images at once.
            num_workers: Processes that load them.
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
    """Images one by one; one that is broken is told and not raised."""

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
