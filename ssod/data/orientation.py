"""Whether images are portrait or landscape, without loading them."""

from pathlib import Path
from typing import Any

import numpy as np

from ssod.data.labeled_images import image_size

_UNKNOWN = -1


class Orientations:
    """The orientations of a data set's images; each is looked up once.

    Sizes are taken from the annotations, or else, as for a folder, from the beginning of an image's
    file.

    Args:
        dataset: An MMEngine data set, or a ``ConcatDataset`` of those.
    """

    def __init__(self, dataset: Any) -> None:
        self._dataset = dataset
        self._portrait = np.full(len(dataset), _UNKNOWN, np.int8)

    def is_portrait(self, index: int) -> bool:
        """Whether an image is higher than wide; ``False`` if its file is broken."""
        if self._portrait[index] == _UNKNOWN:
            self._portrait[index] = _is_portrait(self._dataset.get_data_info(index))
        return bool(self._portrait[index])


def _is_portrait(info: dict[str, Any]) -> bool:
    try:
        width, height = info.get('width'), info.get('height')
        if width is None or height is None:
            width, height = image_size(Path(info['img_path']))
    except (KeyError, ValueError):  # Data workers deal with it.
        return False
    return height > width
