"""What a config is fitted to: the labelled images and boxes, and the machine."""

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ssod.data.coco_json import is_ignored

RANKS = {'pytorch': ('WORLD_SIZE', 'RANK'), 'slurm': ('SLURM_NTASKS', 'SLURM_PROCID')}
"""Variables in which launchers give the number of processes, and the number of this one."""


@dataclass(frozen=True)
class Labels:
    """Sizes in a COCO JSON, in pixels of the files.

    Args:
        images: How many images there are.
        sizes: (N, 2), width and height of each image that has them.
        boxes: (M, 2), width and height of each box that counts and is in one of those images.
        owners: (M,), the row of ``sizes`` that a box is in.
    """

    images: int
    sizes: NDArray[np.float64]
    boxes: NDArray[np.float64]
    owners: NDArray[np.int64]


@dataclass(frozen=True)
class Machine:
    """What a run may use.

    Args:
        processes: How many train together, at least 1; each has its own GPU, if there are GPUs.
        gpu_memory: Bytes of the smallest GPU; ``None`` without GPUs.
        rank: Which of the processes this is, from 0.
    """

    processes: int = 1
    gpu_memory: float | None = None
    rank: int = 0


def measure_labels(content: Mapping[str, Any]) -> Labels:
    """Sizes of images and boxes; entries that make no sense are left to the data checks.

    Args:
        content: The content of a COCO JSON.
    """
    rows: dict[Any, int] = {}
    sizes: list[list[float]] = []
    boxes: list[list[float]] = []
    owners: list[int] = []
    for image in filter(_is_object, content['images']):
        size: list[Any] = [image.get('width'), image.get('height')]
        if _are_lengths(size):
            rows[_key(image.get('id'))] = len(sizes)
            sizes.append(size)
    for annotation in filter(_is_object, content['annotations']):
        box, owner = annotation.get('bbox'), rows.get(_key(annotation.get('image_id')))
        counts = not is_ignored(annotation)
        if counts and owner is not None and isinstance(box, list) and _are_lengths(box[2:]):
            boxes.append(box[2:])
            owners.append(owner)
    return Labels(
        len(content['images']),
        np.array(sizes, np.float64).reshape(-1, 2),
        np.array(boxes, np.float64).reshape(-1, 2),
        np.array(owners, np.int64),
    )


def machine_at_hand(launcher: str = 'none') -> Machine:
    """The machine that this process runs on.

    Apart from the rank, it is the same in all processes of a run, if all of them see equal GPUs;
    :func:`~ssod.rank_agreement.check_ranks_agree` refuses a run for which that matters.

    Args:
        launcher: ``'none'``, ``'pytorch'`` (torchrun) or ``'slurm'``.
    """
    names = RANKS.get(launcher, ('', ''))
    processes, rank = (int(os.environ.get(n, d)) for n, d in zip(names, (1, 0), strict=True))
    if not torch.cuda.is_available():
        return Machine(processes, None, rank)
    gpus = range(torch.cuda.device_count())
    # All of it, not what is free at the moment: a resumed run must get the same values.
    memory = min(torch.cuda.get_device_properties(i).total_memory for i in gpus)
    return Machine(processes, memory, rank)


def _is_object(entry: Any) -> bool:
    return isinstance(entry, dict)


def _key(value: Any) -> Any:
    return value if isinstance(value, int | float | str) else repr(value)


def _are_lengths(values: list[Any]) -> bool:
    return len(values) == 2 and all(
        type(v) in (int, float) and math.isfinite(v) and v > 0 for v in values
    )
