"""How images are prepared for an exported detector, before and inside it."""

import json
from dataclasses import dataclass
from typing import Any

import mmcv
import numpy as np
from mmengine.config import Config, ConfigDict
from numpy.typing import NDArray

from ssod.config_parts import name_of
from ssod.data.load_image import Pixels
from ssod.plain_detector import preparing_steps


@dataclass(frozen=True)
class Preparation:
    """How an image becomes a detector's input.

    Args:
        scale: The largest long and short side of an image, or its width and height if
            ``keep_ratio`` is false; not used if ``size`` is given.
        keep_ratio: Whether width and height are scaled by the same factor.
        size: Height and width of the input, if fixed. An image is made as large as fits and padded
            with the mean colour on the right and at the bottom, or, if ``keep_ratio`` is false,
            resized to exactly this size. Boxes may reach into the padding.
        mean: Mean of red, green and blue, from 0 to 255.
        std: Their standard deviation: the network gets ``(pixel - mean) / std``.
        network_takes_rgb: Whether the network gets red first; otherwise blue.
        pad_size_divisor: The network's height and width are multiples of this.
        pad_value: What pads to these on the right and at the bottom, after the normalization.
    """

    scale: tuple[int, int]
    keep_ratio: bool
    size: tuple[int, int] | None
    mean: tuple[float, ...]
    std: tuple[float, ...]
    network_takes_rgb: bool
    pad_size_divisor: int
    pad_value: float

    def __call__(self, image: Pixels) -> NDArray[np.float32]:
        """Turn an image, BGR (H, W, 3), into an exported detector's input, RGB (3, h, w)."""
        height, width = image.shape[:2]
        if not self.keep_ratio:
            resized = mmcv.imresize(image, self.size[::-1] if self.size else self.scale)
        elif self.size is not None:
            factor = min(self.size[0] / height, self.size[1] / width)
            resized = mmcv.imresize(
                image, (max(1, round(width * factor)), max(1, round(height * factor)))
            )
        else:
            resized = mmcv.imrescale(image, self.scale)
        pixels: NDArray[np.float32] = resized[:, :, ::-1].transpose(2, 0, 1).astype(np.float32)
        if self.size is None:
            return pixels
        padded = np.empty((3, *self.size), np.float32)
        padded[:] = np.reshape(self.mean, (3, 1, 1))
        padded[:, : pixels.shape[1], : pixels.shape[2]] = pixels
        return padded

    def metadata(self) -> dict[str, str]:
        """What to do before the graph, and what the graph does itself, as JSON values."""
        told: dict[str, Any] = {
            'channels': 'RGB',
            'pixel_range': [0, 255],
            'resize': {'scale': self.scale, 'keep_ratio': self.keep_ratio},
            'inside': {
                'mean': self.mean,
                'std': self.std,
                'pad_size_divisor': self.pad_size_divisor,
                'pad_value': self.pad_value,
            },
        }
        if self.size is not None:
            # Width comes first, as in a scale.
            fixed = self.size[::-1]
            told['resize'] = {'scale': fixed, 'keep_ratio': False}
            if self.keep_ratio:
                told['resize'] = {'fit': fixed, 'keep_ratio': True, 'pad_colour': self.mean}
                told['boxes'] = 'clip to the resized image, then divide by the factor'
        return {key: json.dumps(value) for key, value in told.items()}


def preparation_of(
    cfg: Config, preprocessor: ConfigDict, size: tuple[int, int] | None
) -> Preparation:
    """How a config prepares images for a test.

    Args:
        cfg: The config.
        preprocessor: The config of its detector's preprocessor.
        size: Height and width of the input, to fix them.

    Raises:
        ValueError: If it does something an exported detector cannot do.
    """
    if size is not None and min(size) < 1:
        raise ValueError(f'size is {size}, but height and width must be at least 1')
    where, steps = preparing_steps(cfg)
    resize = None
    for step in steps:
        name = name_of(step)
        if name == 'Resize' and resize is None and step.get('scale'):
            resize = step
        elif not name.startswith('LoadImage') and name != 'PackDetInputs':
            raise ValueError(
                f'{cfg.filename}: {where} has {name}, which cannot be exported; only one Resize '
                f'with a scale can'
            )
    if resize is None:
        raise ValueError(f'{cfg.filename}: {where} has no Resize with a scale')
    for key, known in (('interpolation', 'bilinear'), ('backend', 'cv2')):
        if resize.get(key, known) != known:
            raise ValueError(
                f'{cfg.filename}: {where} has a Resize with {key}={resize[key]!r}, which cannot '
                f'be exported; only {known!r} can'
            )
    scale = resize.scale
    to_rgb = preprocessor.get('bgr_to_rgb', False) or preprocessor.get('rgb_to_bgr', False)
    # The config's values are in the network's channel order.
    order = slice(None) if to_rgb else slice(None, None, -1)
    mean, std = (preprocessor.get(key) or [n] * 3 for key, n in (('mean', 0.0), ('std', 1.0)))
    return Preparation(
        scale=(scale, scale) if isinstance(scale, int) else (int(scale[0]), int(scale[1])),
        keep_ratio=bool(resize.get('keep_ratio', False)),
        size=size,
        mean=tuple(float(value) for value in mean[order]),
        std=tuple(float(value) for value in std[order]),
        network_takes_rgb=bool(to_rgb),
        pad_size_divisor=int(preprocessor.get('pad_size_divisor', 1)),
        pad_value=float(preprocessor.get('pad_value', 0)),
    )
