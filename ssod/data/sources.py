"""The labelled and unlabelled data sets of a run, concatenated."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from mmdet.datasets import ConcatDataset
from mmdet.datasets.transforms import MultiBranch, PackDetInputs
from mmdet.registry import DATASETS
from torch.utils.data import get_worker_info

from ssod.data.coco_json import no_garbage_collection
from ssod.data.geometry_check import check_geometry
from ssod.data.load_image import BrokenImageError, printable
from ssod.data.sampler import DRAW, Draw
from ssod.data.shared_memory import share_together
from ssod.data.views import TwoViews
from ssod.seeds import seed_all
from ssod.strict import strict_settings

RETRIES = 100
"""How many other images are tried in place of a broken one."""


@DATASETS.register_module()
@strict_settings
class ImageSources(ConcatDataset):
    """Labelled and unlabelled data sets, for a :class:`~ssod.data.sampler.SourceRatioSampler`.

    A sample depends only on its :class:`~ssod.data.sampler.Draw`, whichever process loads it, and
    carries the draw's key as ``draw``, for :mod:`ssod.models.region_sampling`.

    An unlabelled image that cannot be read is replaced by another one of its source. The data
    samples of the other one carry its path as ``skipped``, for
    :class:`~ssod.data.broken_images.BrokenImagesHook` to count. A source is unlabelled if its
    pipeline, or that of the data set inside it, has :class:`~ssod.data.views.TwoViews`, or mmdet's
    ``MultiBranch`` with a branch ``weak``.

    Args:
        datasets: Configs of the data sets, in the order of the sampler's ``source_ratio``.

    Raises:
        ValueError: If a branch ``weak`` or ``strong`` does not record how it moves an image; see
            :func:`ssod.data.geometry_check.check_geometry`.
        BrokenImageError: When a labelled image cannot be read.
    """

    def __init__(self, datasets: list[dict[str, Any]]) -> None:
        # mmdet makes a million small objects from COCO's annotations.
        with no_garbage_collection():
            # A source may itself be several data sets, each with its own value.
            super().__init__(datasets, ignore_keys=['cumulative_sizes'])
        self._unlabeled = [_has_two_views(dataset) for dataset in self.datasets]
        for dataset in self._unlabeled_datasets:
            _check_branches(dataset)

    @property
    def num_unlabeled(self) -> int:
        """Number of unlabelled images."""
        return sum(len(dataset) for dataset in self._unlabeled_datasets)

    def unlabeled_paths(self) -> Iterator[str]:
        """Paths of the unlabelled images, in order."""
        for dataset in self._unlabeled_datasets:
            for index in range(len(dataset)):
                yield dataset.get_data_info(index)['img_path']

    @property
    def _unlabeled_datasets(self) -> list[Any]:
        known = zip(self.datasets, self._unlabeled, strict=True)
        return [dataset for dataset, unlabeled in known if unlabeled]

    def labeled_draws(self, seed: int, views: int) -> Iterator[Draw]:
        """Each labelled image several times, with a different view each time.

        Within each pass, the images take turns by class, so that the first ones have boxes of all
        classes.

        Args:
            seed: Seed of order and views; no sampler draws the same.
            views: How often each image is drawn.
        """
        starts = [0, *self.cumulative_sizes[:-1]]
        known = zip(starts, self.cumulative_sizes, self._unlabeled, strict=True)
        places = [p for start, end, unlabeled in known if not unlabeled for p in range(start, end)]
        classes = {place: _classes_in(self.get_data_info(place)) for place in places}
        rng = np.random.default_rng(seed)
        for view in range(views):
            before: Counter[int] = Counter()
            turns = {}
            for place in rng.permutation(places).tolist():
                turns[place] = min((before[label] for label in classes[place]), default=len(places))
                before.update(classes[place])
            for place in sorted(turns, key=lambda place: turns[place]):
                yield Draw(place, (seed, view, place, len(self)))

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Load one image as its views."""
        if isinstance(index, Draw):
            seed_all(*index.key)
        source, place = self._get_ori_dataset_idx(index)
        dataset = self.datasets[source]
        skipped: list[str] = []
        while True:
            try:
                views = _views(dataset, place)
                break
            except BrokenImageError as error:
                skipped.append(error.path)
                if not self._unlabeled[source] or len(skipped) > RETRIES:
                    raise
                place = int(np.random.randint(len(dataset)))
        notes: dict[str, Any] = {}
        if isinstance(index, Draw):
            notes[DRAW] = index.key
        if skipped:
            notes['skipped'] = tuple(skipped)
        for sample in filter(None, views['data_samples'].values()):
            sample.set_metainfo(notes)
        return views

    def __getitems__(self, indices: Sequence[int]) -> list[dict[str, Any]]:
        """Load a batch; a data worker puts it into one piece of memory."""
        samples = [self[index] for index in indices]
        if get_worker_info() is not None:
            share_together(samples)
        return samples


def _classes_in(info: Mapping[str, Any]) -> set[int]:
    """The classes of an image's boxes, except ignored ones."""
    return {box['bbox_label'] for box in info.get('instances', ()) if not box.get('ignore_flag')}


def _views(dataset: Any, place: int) -> dict[str, Any]:
    """An image's views.

    Raises:
        BrokenImageError: If it cannot be read, or is too thin to be resized.
    """
    try:
        views: dict[str, Any] = dataset[place]
    except cv2.error as error:
        path = dataset.get_data_info(place)['img_path']
        what = f'{printable(path)} cannot be made into views: {error.err}'
        raise BrokenImageError(path, f'{what}; crop or remove it if it is thin') from None
    return views


def _has_two_views(dataset: Any) -> bool:
    """Whether a data set, or those inside it, give views for teacher and student."""
    if isinstance(dataset, ConcatDataset):
        return all(map(_has_two_views, dataset.datasets))
    if any(isinstance(t, TwoViews) or 'weak' in _branches_of(t) for t in _transforms_of(dataset)):
        return True
    return hasattr(dataset, 'dataset') and _has_two_views(dataset.dataset)


def _transforms_of(dataset: Any) -> Sequence[Any]:
    """The transforms of a data set itself, without those of data sets inside it."""
    pipeline = getattr(dataset, 'pipeline', None) or ()
    # The pipeline of a wrapper may be a plain list.
    transforms: Sequence[Any] = getattr(pipeline, 'transforms', pipeline)
    return transforms


def _check_branches(dataset: Any) -> None:
    """Refuse views of mmdet's ``MultiBranch`` that do not record how they move an image."""
    for transform in _transforms_of(dataset):
        for name, branch in _branches_of(transform).items():
            if name in ('weak', 'strong'):
                steps = list(branch.transforms)
                packs = [step for step in steps if isinstance(step, PackDetInputs)]
                if any('homography_matrix' not in pack.meta_keys for pack in packs):
                    raise ValueError(
                        f'MultiBranch: {name} has PackDetInputs without homography_matrix in its '
                        f'meta_keys, but pseudo-boxes need it; add it, or use TwoViews'
                    )
                check_geometry(name, [step for step in steps if step not in packs])
    inside = [dataset.dataset] if hasattr(dataset, 'dataset') else getattr(dataset, 'datasets', ())
    for inner in inside:
        _check_branches(inner)


def _branches_of(transform: Any) -> Mapping[str, Any]:
    """The branches of mmdet's ``MultiBranch``; other transforms have none."""
    return transform.branch_pipelines if isinstance(transform, MultiBranch) else {}
