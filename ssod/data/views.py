"""The views of an image, in the format of :mod:`ssod.data.branches`.

mmdet's ``MultiBranch`` gives the same format. These two do their own packing, with all that is
needed to project boxes between views. They copy an image once instead of everything twice, drop all
labels of unlabelled images, and refuse a view whose geometry cannot be followed. For the same
pixels they take at most half of ``MultiBranch``'s time; see :mod:`ssod.data.quick_transforms`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from mmdet.datasets.transforms import PackDetInputs
from mmdet.registry import TRANSFORMS

from ssod.data.geometry_check import Transform, check_geometry
from ssod.data.packing import NoBoxes, Packing
from ssod.data.quick_transforms import quicken
from ssod.strict import strict_settings

Results = dict[str, Any]

META_KEYS = (
    'img_id',
    'img_path',
    'ori_shape',
    'img_shape',
    'scale_factor',
    'flip',
    'flip_direction',
    'homography_matrix',
)
"""What a data sample keeps about its image; pseudo-boxes need all of it."""

BRANCHES = ('labeled', 'weak', 'strong')


@TRANSFORMS.register_module()
@strict_settings
class LabeledView(BaseTransform):
    """The rest of a labelled image's pipeline, after loading it and its annotations.

    Args:
        transforms: Configs of transforms. A ``PackDetInputs`` at the end may add meta keys; it is
            not needed.
    """

    def __init__(self, transforms: Sequence[Mapping[str, Any] | Transform] = ()) -> None:
        self._view = _View(transforms)
        quicken(self._view.transforms)

    def transform(self, results: Results) -> Results | None:
        """Make the branch ``labeled``; ``None`` if a transform gave up on this image."""
        return _join({'labeled': self._view(results)})


@TRANSFORMS.register_module()
@strict_settings
class TwoViews(BaseTransform):
    """The weak and the strong view of an unlabelled image, after loading it.

    Any loaded annotations are dropped: an unlabelled image has none.

    Args:
        weak: Configs of the transforms for the teacher's view.
        strong: Configs of the transforms for the student's view.
        common: Configs of transforms applied before both, drawn once. If only they move the image,
            the pixels of both views show the same places, as dense pseudo-labels require.

    Raises:
        ValueError: If a view does not record how it moves the image; see
            :func:`ssod.data.geometry_check.check_geometry`.
    """

    def __init__(
        self,
        weak: Sequence[Mapping[str, Any] | Transform] = (),
        strong: Sequence[Mapping[str, Any] | Transform] = (),
        common: Sequence[Mapping[str, Any] | Transform] = (),
    ) -> None:
        self._common = _built(common)
        self._weak, self._strong = _View(weak), _View(strong)
        check_geometry('common', self._common)
        check_geometry('weak', self._weak.transforms)
        check_geometry('strong', self._strong.transforms)
        for transforms in (self._common, self._weak.transforms, self._strong.transforms):
            quicken(transforms)

    def transform(self, results: Results) -> Results | None:
        """Make the branches ``weak`` and ``strong``; ``None`` if a transform gave up."""
        shared = _apply(self._common, _without_annotations(results))
        if shared is None:
            return None
        if self._common:
            shared = _without_annotations(shared)
        # Transforms may write into their input's image and matrix.
        copied = {k: v.copy() for k, v in shared.items() if isinstance(v, np.ndarray)}
        other = {**shared, **copied}
        return _join({'weak': self._weak(shared), 'strong': self._strong(other)})


class _View:
    """Some transforms, and the packing of their result."""

    def __init__(self, transforms: Sequence[Mapping[str, Any] | Transform]) -> None:
        built = _built(transforms)
        meta_keys = dict.fromkeys(META_KEYS)
        if built and isinstance(built[-1], PackDetInputs):
            meta_keys.update(dict.fromkeys(built.pop().meta_keys))
        self.transforms = built
        self._pack = Packing(tuple(meta_keys))

    def __call__(self, results: Results) -> Results | None:
        results = {
            'scale_factor': (1.0, 1.0),
            'flip': False,
            'flip_direction': None,
            'homography_matrix': np.eye(3, dtype=np.float32),
            **results,
        }
        view = _apply(self.transforms, results)
        if view is None:
            return None
        return self._pack(view)


def _built(transforms: Sequence[Mapping[str, Any] | Transform]) -> list[Any]:
    return [TRANSFORMS.build(t) if isinstance(t, Mapping) else t for t in transforms]


def _apply(transforms: Sequence[Transform], results: Results) -> Results | None:
    """Apply the transforms one after another; ``None`` if one gave up on this image."""
    for transform in transforms:
        view = transform(results)
        if view is None:
            return None
        results = view
    return results


def _without_annotations(results: Results) -> Results:
    kept = {k: v for k, v in results.items() if not k.startswith('gt_') and k != 'instances'}
    return {
        **kept,
        'gt_bboxes': NoBoxes(),
        'gt_bboxes_labels': np.zeros(0, np.int64),
        'gt_ignore_flags': np.zeros(0, bool),
    }


def _join(views: dict[str, Results | None]) -> Results | None:
    """The branches of one image, with ``None`` for views it does not have."""
    if any(view is None for view in views.values()):
        return None
    return {
        key: {name: (views.get(name) or {}).get(key) for name in BRANCHES}
        for key in ('inputs', 'data_samples')
    }
