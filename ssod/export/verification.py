"""Checks that an exported detector finds the same boxes as the original."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from mmdet.structures import DetDataSample
from numpy.typing import NDArray

Found = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]
"""Boxes (N, 4), scores (N,) and labels (N,)."""

MAX_PIXELS = 0.05
"""By how many pixels a corner may differ. Float32 gives about 0.0001."""

MAX_SCORE = 0.001
"""By how much a score may differ."""

MAX_SHARE = 0.01
"""Share of the boxes that may have no counterpart: two boxes with nearly equal scores may swap
places, so that another one is suppressed."""

_APART = 1.0


@dataclass(frozen=True)
class Comparison:
    """How much two detectors differ.

    Args:
        images: How many images they were compared on.
        boxes: How many boxes the first one found.
        pixels: The largest difference of a corner coordinate.
        scores: The largest difference of a score.
        unmatched: How many boxes of either have no counterpart of the same class within a pixel.
    """

    images: int
    boxes: int
    pixels: float
    scores: float
    unmatched: int

    @property
    def equal(self) -> bool:
        """Whether they differ by no more than rounding."""
        return (
            self.pixels <= MAX_PIXELS
            and self.scores <= MAX_SCORE
            and self.unmatched <= MAX_SHARE * self.boxes
        )

    def __str__(self) -> str:
        return (
            f'{self.boxes} boxes in {self.images} images differ by at most {self.pixels:.2g} '
            f'pixels and {self.scores:.2g} in score; without counterpart: {self.unmatched}'
        )


def compare(
    first: Callable[[NDArray[np.float32]], Found],
    second: Callable[[NDArray[np.float32]], Found],
    images: Sequence[NDArray[np.float32]],
) -> Comparison:
    """Compare what two detectors find in images, (3, H, W), RGB."""
    boxes, unmatched, pixels, scores = 0, 0, [0.0], [0.0]
    for image in images:
        theirs, ours = first(image), second(image)
        pairs = _pairs(theirs, ours)
        boxes += len(theirs[0])
        unmatched += len(theirs[0]) + len(ours[0]) - 2 * len(pairs)
        for one, other in pairs:
            pixels.append(float(np.abs(theirs[0][one] - ours[0][other]).max()))
            scores.append(float(np.abs(theirs[1][one] - ours[1][other])))
    return Comparison(len(images), boxes, max(pixels), max(scores), unmatched)


def _pairs(theirs: Found, ours: Found) -> list[tuple[int, int]]:
    """Matching boxes: for each box of the first, the nearest of its class within a pixel."""
    pairs = []
    distances = np.abs(theirs[0][:, None] - ours[0][None]).max(axis=2)
    distances[theirs[2][:, None] != ours[2][None]] = np.inf
    for one, row in enumerate(distances):
        if len(row) and row.min() < _APART:
            other = int(row.argmin())
            pairs.append((one, other))
            distances[:, other] = np.inf
    return pairs


def by_mmdet(detector: Any) -> Callable[[NDArray[np.float32]], Found]:
    """The prediction of mmdet itself, for :func:`compare`."""

    @torch.no_grad()
    def find(image: NDArray[np.float32]) -> Found:
        """Boxes, scores and labels in an image of (3, H, W)."""
        shape = image.shape[1:]
        meta = {'img_shape': shape, 'ori_shape': shape, 'scale_factor': (1.0, 1.0)}
        bgr = torch.from_numpy(image[::-1].copy())
        sample = DetDataSample(metainfo=meta)
        (sample,) = detector.test_step({'inputs': [bgr], 'data_samples': [sample]})
        found = sample.pred_instances
        return found.bboxes.numpy(), found.scores.numpy(), found.labels.numpy()

    return find


def by_onnx(session: Any) -> Callable[[NDArray[np.float32]], Found]:
    """The prediction of an ``onnxruntime.InferenceSession``, for :func:`compare`."""

    def find(image: NDArray[np.float32]) -> Found:
        """Boxes, scores and labels in an image of (3, H, W)."""
        boxes, scores, labels = session.run(None, {'image': image[None]})
        return boxes, scores, labels

    return find
