"""The images of a config, as a page shows them.

They are spread evenly over their data set, and their views are the same on each call.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmdet.registry import DATASETS
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.structures import InstanceData
from torch import Tensor

from ssod.data.data_sets import DataSet, Role, data_sets_of, spread
from ssod.data.load_image import BrokenImageError, Pixels
from ssod.progress import with_progress
from ssod.pseudo_labels.hidden_truth import HiddenTruth
from ssod.seeds import seed_all
from ssod.teachers.box_counts import BoxCounts, count_labels


@dataclass(frozen=True)
class View:
    """A view of an image.

    Attributes:
        inputs: The image as loaded, BGR, (3, H, W) in 0..255; an augmentation may have turned it
            into floating-point numbers.
        sample: Its data sample.
        truth: The true boxes in its pixels; ``None`` if unknown.
        crowds: True boxes that are ignored, such as crowds.
    """

    inputs: Tensor
    sample: DetDataSample
    truth: InstanceData | None
    crowds: InstanceData | None = None

    @property
    def image(self) -> Pixels:
        """The image as it is drawn, RGB, (H, W, 3)."""
        rgb = self.inputs.flip(0).permute(1, 2, 0).float().round().clamp(0, 255)
        pixels: Pixels = rgb.byte().contiguous().numpy()
        return pixels


def views_of(cfg: Config, count: int) -> Iterator[tuple[View, View]]:
    """The weak and the strong view of unlabelled images, with the hidden truth if known.

    Broken images are skipped, as in training.

    Args:
        cfg: The config.
        count: How many images at most.

    Raises:
        FileNotFoundError: If they are not on this machine.
        ValueError: If the config has none with :class:`~ssod.data.views.TwoViews`, or all chosen
            images are broken.
    """
    dataset = DATASETS.build(the_data(cfg, 'unlabeled').cfg)
    quality = (cfg.get('default_hooks') or {}).get('quality') or {}
    path = quality.get('ann_file')
    truth = None
    if path and Path(path).is_file():
        truth = HiddenTruth(path, dataset.metainfo['classes'])
    broken = 0
    chosen = spread(len(dataset), count)
    for i in with_progress(chosen, 'looking at unlabelled images'):
        seed_all(i)
        try:
            views = dataset[i]
        except BrokenImageError:
            broken += 1
            if broken == len(chosen):
                raise
            continue
        if not isinstance(views['inputs'], dict) or 'weak' not in views['inputs']:
            raise ValueError('The unlabelled images have no weak and strong view (TwoViews).')
        yield _view(views, 'weak', truth), _view(views, 'strong', truth)


def the_data(cfg: Config, role: Role) -> DataSet:
    """The first data set with a role.

    Args:
        cfg: The config.
        role: What it is used for.

    Raises:
        FileNotFoundError: If its annotation file or folder does not exist.
        ValueError: If there is none.
    """
    words = {'labeled': 'labelled', 'unlabeled': 'unlabelled', 'val': 'validation', 'test': 'test'}
    found = [d for d in data_sets_of(cfg, ['train', 'val']) if d.role == role]
    if not found:
        raise ValueError(f'The config has no {words[role]} images.')
    if found[0].is_local and not os.path.exists(found[0].file):
        raise FileNotFoundError(
            f'{found[0].file} does not exist here; relative paths start from the current directory.'
        )
    return found[0]


def labels_of(cfg: Config) -> tuple[BoxCounts, Sequence[str]]:
    """The labelled images' number of boxes of each class, and the class names.

    Args:
        cfg: The config.

    Raises:
        FileNotFoundError: If they are not on this machine.
        ValueError: If the config has none.
    """
    dataset = DATASETS.build(the_data(cfg, 'labeled').cfg)
    names = dataset.metainfo['classes']
    return count_labels(dataset, len(names)), names


def _view(views: dict[str, Any], branch: str, truth: HiddenTruth | None) -> View:
    """One view, as it is drawn."""
    sample = views['data_samples'][branch]
    known = None if truth is None else truth.in_view(sample)
    true, crowds = known or (None, None)
    return View(views['inputs'][branch], sample, true, crowds)
