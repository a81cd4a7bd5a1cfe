"""mmcv's colour transforms with identical results, but many times faster.

mmcv computes them in floating point, pixel by pixel. Here, whatever depends only on a pixel's own
value is computed once for each of the 256 values and looked up. OpenCV counts the histograms, which
is exact up to 16 million pixels of one value. All functions take and return images of (H, W, 3),
uint8, BGR, and leave their input unchanged.
"""

from collections.abc import Callable
from typing import Any

import cv2
import mmcv
import numpy as np
from numpy.typing import NDArray

from ssod.data.load_image import Pixels

_SMOOTH = np.array([[1.0, 1.0, 1.0], [1.0, 5.0, 1.0], [1.0, 1.0, 1.0]]) / 13
_ALL_VALUES = np.repeat(np.arange(256, dtype=np.uint8), 3).reshape(1, 256, 3)


def by_value(image: Pixels, change: Callable[[Pixels], Any]) -> Pixels:
    """Apply a change that treats equal values alike in all channels.

    Args:
        image: The image.
        change: A function of an image.
    """
    table = np.ascontiguousarray(change(_ALL_VALUES)[0, :, 0], np.uint8)
    return np.asarray(cv2.LUT(image, table), np.uint8)


def adjust_contrast(image: Pixels, factor: float) -> Pixels:
    """Like ``mmcv.adjust_contrast``: away from the mean grey; 1 leaves the image as it is."""
    grey: Any = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    mean = round(int(grey.sum(dtype=np.int64)) / grey.size)
    middle = np.full((1, 256, 3), mean, np.float32)

    def change(values: Pixels) -> Any:
        """Mix values with the mean grey."""
        mixed = cv2.addWeighted(values.astype(np.float32), factor, middle, 1 - factor, 0)
        return np.clip(mixed, 0, 255).astype(np.uint8)

    return by_value(image, change)


def adjust_color(image: Pixels, factor: float) -> Pixels:
    """Like ``mmcv.adjust_color``: away from grey; 1 leaves the image as it is."""
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
    return np.asarray(cv2.addWeighted(image, factor, grey, 1 - factor, 0), np.uint8)


def adjust_sharpness(image: Pixels, factor: float) -> Pixels:
    """Like ``mmcv.adjust_sharpness``: away from a smoothed image; 1 leaves it as it is."""
    smooth = cv2.filter2D(image, -1, _SMOOTH)
    mixed: Any = cv2.addWeighted(image, factor, smooth, 1 - factor, 0, dtype=cv2.CV_32F)
    return np.asarray(np.clip(mixed, 0, 255, out=mixed).astype(np.uint8))


def auto_contrast(image: Pixels) -> Pixels:
    """Like ``mmcv.auto_contrast``: stretch each channel to the full range of values."""
    return _by_channel(image, _stretched)


def equalize(image: Pixels) -> Pixels:
    """Like ``mmcv.imequalize``: make the values of each channel about equally frequent."""
    return _by_channel(image, _equalized)


def adjust_brightness(image: Pixels, factor: float) -> Pixels:
    """Like ``mmcv.adjust_brightness``: 0 is black, 1 leaves the image as it is."""
    return by_value(image, lambda values: mmcv.adjust_brightness(values, factor))


def _by_channel(image: Pixels, table: Callable[[NDArray[np.int64]], Pixels | None]) -> Pixels:
    """Look channels up in tables made from their histograms; ``None`` keeps a channel."""
    channels = list(cv2.split(image))
    for number, channel in enumerate(channels):
        counts = cv2.calcHist([channel], [0], None, [256], [0, 256])
        values = table(counts.ravel().astype(np.int64))
        if values is not None:
            channels[number] = cv2.LUT(channel, values)
    return np.asarray(cv2.merge(channels), np.uint8)


def _stretched(counts: NDArray[np.int64]) -> Pixels | None:
    found = np.nonzero(counts)[0]
    low, high = found[0], found[-1]
    if low >= high:
        return None
    scale = 255.0 / (high - low)
    return np.clip(np.arange(256) * scale - low * scale, 0, 255).astype(np.uint8)


def _equalized(counts: NDArray[np.int64]) -> Pixels | None:
    step = (counts.sum() - counts[counts > 0][-1]) // 255
    if not step:
        return None
    before = np.concatenate([[0], np.cumsum(counts)[:-1] + step // 2])
    before[1:] //= step
    return np.minimum(before, 255).astype(np.uint8)
