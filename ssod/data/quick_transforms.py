"""Faster versions of mmdet's transforms, with the same random numbers and the same pixels.

Configs name mmdet's transforms as usual; :func:`quicken` replaces those in a view. Only mmdet's own
classes are replaced: a user's subclasses run as they are. Boxes are the same, too, except where
mmdet's are half a pixel off (:mod:`ssod.data.exact_geometry`).
"""

import inspect
import math
from collections.abc import Callable
from typing import Any, TypeVar

import cv2
import mmcv
import numpy as np
from mmcv.transforms import Compose, RandomApply, RandomChoice
from mmcv.transforms.utils import cache_randomness
from mmdet.datasets import transforms as mmdets
from numpy.typing import NDArray

from ssod.data import colours
from ssod.data.colours import by_value
from ssod.data.exact_geometry import EXACT
from ssod.data.load_image import Pixels
from ssod.data.packing import NoBoxes

Results = dict[str, Any]
T = TypeVar('T')

FLIPS = {'horizontal': 1, 'vertical': 0, 'diagonal': -1}
"""OpenCV's flip codes for mmdet's directions."""


def quicken(transforms: list[Any]) -> None:
    """Speed up transforms, including those inside wrappers, without changing their pixels.

    Args:
        transforms: As built. Some are replaced; the others can no longer share their random
            numbers between images, which mmcv's ``TransformBroadcaster`` would need.
    """
    for number, transform in enumerate(transforms):
        _draw_directly(transform)
        if type(transform) in COLOURS:
            transforms[number] = QuickColour(transform)
        elif type(transform) in QUICK:
            transforms[number] = _like(QUICK[type(transform)], transform)
        elif isinstance(transform, RandomApply):
            quicken(transform.transforms.transforms)
        elif isinstance(transform, Compose | RandomChoice):
            quicken(transform.transforms)


class Directly:
    """A transform's random method without mmcv's cache, which copies an object on each call.

    Args:
        transform: The transform.
        name: Name of the method.
    """

    def __init__(self, transform: Any, name: str) -> None:
        self._transform, self._name = transform, name
        self._draw = inspect.getattr_static(type(transform), name).func

    def __call__(self, *args: Any) -> Any:
        """Draw."""
        return self._draw(self._transform, *args)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by name: the function itself cannot be pickled."""
        return type(self), (self._transform, self._name)


def _draw_directly(transform: Any) -> None:
    cls = type(transform)
    for name in getattr(cls, '_methods_with_randomness', ()):
        if isinstance(inspect.getattr_static(cls, name), cache_randomness):
            setattr(transform, name, Directly(transform, name))


def _like(cls: type[T], transform: Any) -> T:
    """An object of a subclass with the settings of a transform."""
    quick = cls.__new__(cls)
    quick.__dict__.update(transform.__dict__)
    _draw_directly(quick)
    return quick


class QuickColour(mmdets.ColorTransform):
    """A colour transform by a function for uint8 images.

    Args:
        slow: The transform it replaces; it still handles other images.
    """

    def __init__(self, slow: mmdets.ColorTransform) -> None:
        super().__init__(slow.prob, slow.level, slow.min_mag, slow.max_mag)
        self._slow = slow
        _draw_directly(self)

    def _transform_img(self, results: Results, mag: float) -> None:
        image = results['img']
        if image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3:
            results['img'] = COLOURS[type(self._slow)](image, mag)
        else:
            self._slow._transform_img(results, mag)


class QuickFlip(mmdets.RandomFlip):
    """``RandomFlip`` with contiguous pixels, which speeds up what comes next."""

    def _flip(self, results: Results) -> None:
        image: NDArray[Any] = results['img']
        super()._flip(results)
        flipped = cv2.flip(image, FLIPS[results['flip_direction']])
        results['img'] = flipped.reshape(image.shape)


class QuickErasing(mmdets.RandomErasing):
    """``RandomErasing`` that looks for erased boxes only if there are boxes and patches.

    mmdet's fails if it draws no patch.
    """

    def _transform_bboxes(self, results: Results, patches: Any) -> None:
        if len(patches) and not isinstance(results['gt_bboxes'], NoBoxes):
            super()._transform_bboxes(results, patches)


def _solarize(image: Pixels, mag: float) -> Pixels:
    return by_value(image, lambda values: mmcv.solarize(values, mag))


def _posterize(image: Pixels, mag: float) -> Pixels:
    return by_value(image, lambda values: mmcv.posterize(values, math.ceil(mag)))


COLOURS: dict[type, Callable[[Pixels, float], Pixels]] = {
    mmdets.Color: colours.adjust_color,
    mmdets.Brightness: colours.adjust_brightness,
    mmdets.Contrast: colours.adjust_contrast,
    mmdets.Sharpness: colours.adjust_sharpness,
    mmdets.Solarize: _solarize,
    mmdets.Posterize: _posterize,
    mmdets.Equalize: lambda image, _: colours.equalize(image),
    mmdets.AutoContrast: lambda image, _: colours.auto_contrast(image),
}
"""What each of mmdet's colour transforms does with an image and a magnitude."""

QUICK: dict[type, type] = {
    mmdets.RandomFlip: QuickFlip,
    mmdets.RandomErasing: QuickErasing,
    **EXACT,
}
"""Replacements for mmdet's transforms."""
