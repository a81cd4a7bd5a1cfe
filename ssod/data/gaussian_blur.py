"""The blur of strong views, after SimCLR (Chen et al., 2020)."""

from typing import Any

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from mmdet.registry import TRANSFORMS

from ssod.strict import check_ranges, strict_settings


@TRANSFORMS.register_module()
@strict_settings
class GaussianBlur(BaseTransform):
    """Blurs images at random, as in the strong views of Unbiased Teacher and Dense Teacher.

    Args:
        prob: Probability, in [0, 1].
        sigma: Least and greatest standard deviation of the kernel in pixels, above 0.

    Raises:
        ValueError: If a setting is out of its range.
    """

    def __init__(self, prob: float = 0.5, sigma: tuple[float, float] = (0.1, 2.0)) -> None:
        check_ranges(
            'GaussianBlur',
            ('prob', prob, 0 <= prob <= 1, 'in [0, 1]'),
            ('sigma', sigma, 0 < sigma[0] <= sigma[1], 'two numbers, 0 < a <= b'),
        )
        self.prob = prob
        self.sigma = sigma

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Blur ``img`` (H, W, 3); its data type does not change."""
        if np.random.rand() < self.prob:
            sigma = np.random.uniform(*self.sigma)
            results['img'] = cv2.GaussianBlur(results['img'], (0, 0), sigma)
        return results
