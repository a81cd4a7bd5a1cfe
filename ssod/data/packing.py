"""Packs views for the model, and provides the boxes of an image that has none."""

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import cv2
import numpy as np
import torch
from mmdet.datasets.transforms import PackDetInputs
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import HorizontalBoxes
from mmengine.structures import BaseDataElement, InstanceData
from numpy.typing import NDArray
from torch import Tensor

# Nothing can be written into an empty tensor, so all images can share one.
_BOXES = torch.zeros(0, 4)
_LABELS = torch.zeros(0, dtype=torch.int64)
_MORE = {'gt_masks', 'gt_seg_map', 'proposals'}
_PLAIN = (str, int, float, tuple, type(None))


class NoBoxes(HorizontalBoxes):
    """No boxes at all: moving, scaling or clipping them takes no time.

    Anything else made from them, such as a selection or a copy, is a ``HorizontalBoxes``.
    """

    def __new__(cls, data: Any = None, *args: Any, **kwargs: Any) -> HorizontalBoxes:
        """No boxes; or, as when boxes make new ones of their kind, those of ``data``."""
        if data is not None:
            return HorizontalBoxes(data, *args, **kwargs)
        boxes: HorizontalBoxes = super().__new__(cls)
        return boxes

    def __init__(self) -> None:
        super().__init__(_BOXES, clone=False)

    def flip_(self, img_shape: tuple[int, int], direction: str = 'horizontal') -> None:
        """Nothing."""

    def translate_(self, distances: tuple[float, float]) -> None:
        """Nothing."""

    def clip_(self, img_shape: tuple[int, int]) -> None:
        """Nothing."""

    def rotate_(self, center: tuple[float, float], angle: float) -> None:
        """Nothing."""

    def project_(self, homography_matrix: Any) -> None:
        """Nothing."""

    def rescale_(self, scale_factor: tuple[float, float]) -> None:
        """Nothing."""

    def resize_(self, scale_factor: tuple[float, float]) -> None:
        """Nothing."""


class Packing:
    """Does what mmdet's ``PackDetInputs`` does, in less time.

    Args:
        meta_keys: What a data sample keeps about its image.
    """

    def __init__(self, meta_keys: Sequence[str]) -> None:
        self._meta_keys = tuple(meta_keys)
        self._annotations = PackDetInputs(meta_keys=())

    def __call__(self, results: dict[str, Any]) -> dict[str, Any]:
        """The image as (3, H, W) under ``inputs``, everything else as ``data_samples``."""
        if isinstance(results.get('gt_bboxes'), NoBoxes) and _MORE.isdisjoint(results):
            sample = DetDataSample()
            sample.gt_instances, sample.ignored_instances = _no_instances(), _no_instances()
        else:
            others = {key: value for key, value in results.items() if key != 'img'}
            sample = self._annotations(others)['data_samples']
        known = {key: _owned(results[key]) for key in self._meta_keys if key in results}
        _fill(sample, sample._metainfo_fields, known)
        return {'inputs': planes(results['img']), 'data_samples': sample}


def planes(image: NDArray[Any]) -> Tensor:
    """An image (H, W) or (H, W, C) as a tensor (C, H, W) over channels-last memory.

    It shares the image's memory if that is contiguous.
    """
    if image.ndim == 2:
        image = image[..., None]
    layers = image.transpose(2, 0, 1)
    if len(layers) == 3 and layers.flags.c_contiguous:
        # OpenCV's copy takes a tenth of the time of NumPy's.
        image = cv2.merge(list(layers))
    return torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)


def _no_instances() -> InstanceData:
    instances, boxes = InstanceData(), HorizontalBoxes.__new__(HorizontalBoxes)
    boxes.tensor = _BOXES
    _fill(instances, instances._data_fields, {'bboxes': boxes, 'labels': _LABELS})
    return instances


def _fill(element: BaseDataElement, names: set[str], values: dict[str, Any]) -> None:
    """Set values without mmengine's checks, which take longer than all the rest."""
    names.update(values)
    vars(element).update(values)


def _owned(value: Any) -> Any:
    """A copy of anything that could be modified."""
    if isinstance(value, _PLAIN):
        return value
    return value.copy() if isinstance(value, np.ndarray) else deepcopy(value)
