"""mmdet's rotation and shears, with matrices that say where things really go."""

from typing import Any

import numpy as np
from mmdet.datasets import transforms as mmdets
from numpy.typing import NDArray

TO_CENTRES = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
"""From the numbers of pixels, 0 being the first, to where their centres are."""


class _Exact:
    """Boxes and matrices of mmdet's are up to half a pixel off: there, pixels are at their numbers.

    Images are moved as by mmdet's, which begins with the number of a pixel. But boxes, and so the
    matrix, are about places, and the first pixel's centre is at (0.5, 0.5).
    """

    def _get_homography_matrix(self, results: dict[str, Any], mag: float) -> NDArray[np.float32]:
        of_numbers = super()._get_homography_matrix(results, mag)  # type: ignore[misc]
        of_places = TO_CENTRES @ of_numbers.astype(np.float64) @ np.linalg.inv(TO_CENTRES)
        return np.asarray(of_places, np.float32)


class ExactRotate(_Exact, mmdets.Rotate):
    """``Rotate`` about the image's centre."""


class ExactShearX(_Exact, mmdets.ShearX):
    """``ShearX`` that leaves the centres of the first row's pixels where they are."""


class ExactShearY(_Exact, mmdets.ShearY):
    """``ShearY`` that leaves the centres of the first column's pixels where they are."""


EXACT: dict[type, type] = {
    mmdets.Rotate: ExactRotate,
    mmdets.ShearX: ExactShearX,
    mmdets.ShearY: ExactShearY,
}
"""Replacements for mmdet's transforms."""
