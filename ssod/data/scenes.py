"""Settings of the scenes of handwritten digits, and how one is composed.

The handwriting is scikit-learn's ``load_digits`` (1,797 images of 8x8 pixels, the test part of the
UCI set "Optical Recognition of Handwritten Digits"). All arithmetic uses whole numbers or is exact
in IEEE floats, so every machine makes the same pixels.
"""

import dataclasses

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_digits

from ssod.data.load_image import Pixels

Box = tuple[int, int, int, int]
"""x1, y1, x2, y2 in whole pixels, the last two exclusive."""

MAX_COVER = 0.1
"""Largest share of the smaller of two boxes that the other may cover."""


@dataclasses.dataclass(frozen=True)
class DigitsScenes:
    """What the scenes look like and how many there are.

    ``background``, ``contrast`` and ``noise`` set the difficulty. Light digits on dark, smooth
    backgrounds (low ``background``, high ``contrast``, no ``noise``) are easiest.

    Args:
        image_size: Width and height of a scene in pixels.
        digits_per_image: Fewest and most digits in a scene.
        digit_height: Smallest and largest height of a digit in pixels, give or take two.
        train_images: Number of training scenes.
        val_images: Number of validation scenes; their digits appear in no training scene.
        labeled_fraction: Share of the training scenes that are labelled, in (0, 1).
        background: Brightest background, as a fraction of white in [0, 1].
        contrast: Smallest and largest difference between a digit and its background, as fractions
            of white in (0, 1]. Digits are lighter than their background, or darker if it is bright.
        noise: Standard deviation of the pixels' noise, as a fraction of white in [0, 1].
        seed: Different seeds give different scenes; 0 or more.

    Raises:
        ValueError: If a setting is out of range; names it.
    """

    image_size: int = 96
    digits_per_image: tuple[int, int] = (1, 4)
    digit_height: tuple[int, int] = (16, 40)
    train_images: int = 300
    val_images: int = 200
    labeled_fraction: float = 0.1
    background: float = 0.35
    contrast: tuple[float, float] = (0.3, 0.7)
    noise: float = 0.02
    seed: int = 0

    def __post_init__(self) -> None:
        # Lists come from JSON and configs; a tuple keeps equal settings equal.
        for name in ('digits_per_image', 'digit_height', 'contrast'):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        self._check('digits_per_image', 1 <= self.digits_per_image[0] <= self.digits_per_image[1])
        fits = 8 <= self.digit_height[0] <= self.digit_height[1] <= self.image_size // 2
        self._check(
            'digit_height', fits, f'at least 8, at most half of image_size {self.image_size}'
        )
        self._check('train_images', self.train_images >= 2)
        self._check('val_images', self.val_images >= 1)
        labeled = 0 < self.num_labeled < self.train_images
        self._check('labeled_fraction', labeled, 'at least one image labelled and one not')
        self._check('background', 0 <= self.background <= 1)
        self._check('contrast', 0 < self.contrast[0] <= self.contrast[1] <= 1)
        self._check('noise', 0 <= self.noise <= 1)
        self._check('seed', self.seed >= 0)

    @property
    def num_labeled(self) -> int:
        """Number of labelled training scenes."""
        return round(self.train_images * self.labeled_fraction)

    def _check(self, name: str, valid: bool, wanted: str = 'see DigitsScenes') -> None:
        if not valid:
            raise ValueError(
                f'DigitsScenes: {name}={getattr(self, name)} is out of range: {wanted}'
            )


def compose(
    rng: np.random.Generator, glyphs: list[Pixels], scenes: DigitsScenes
) -> tuple[Pixels, list[tuple[int, Box]]]:
    """Compose one scene; returns its pixels (S, S, 3), and each digit's glyph number and box."""
    scene = _background(rng, scenes).astype(np.int64)
    objects: list[tuple[int, Box]] = []
    low, high = scenes.digits_per_image
    for _ in range(rng.integers(low, high, endpoint=True)):
        glyph = int(rng.integers(len(glyphs)))
        ink = _draw_ink(rng, glyphs[glyph], scenes.digit_height)
        box = _find_place(rng, ink.shape, [box for _, box in objects], scenes.image_size)
        if box is None:
            continue
        objects.append((glyph, box))
        x1, y1, x2, y2 = box
        under = scene[y1:y2, x1:x2]
        colour = _ink_colour(rng, int(under.sum()) // under.size, scenes.contrast)
        opacity = ink[..., None].astype(np.int64)
        scene[y1:y2, x1:x2] = (under * (255 - opacity) + colour * opacity) // 255
    # The sum of four uniform numbers is close enough to normal, and the same on every machine.
    noise = rng.integers(0, 256, size=(4, *scene.shape), dtype=np.uint8).sum(axis=0, dtype=np.int64)
    scene += np.floor((noise - 510) * (scenes.noise * 255 / 147.8) + 0.5).astype(np.int64)
    return scene.clip(0, 255).astype(np.uint8), objects


def _background(rng: np.random.Generator, scenes: DigitsScenes) -> Pixels:
    """A few random colours that blend into each other, (S, S, 3)."""
    brightest = int(scenes.background * 255)
    cells = int(rng.integers(2, 6))
    base = rng.integers(0, brightest, size=3, endpoint=True)
    spread = rng.integers(-(brightest // 2), brightest // 2, size=(cells, cells, 3), endpoint=True)
    grid = (base + spread).clip(0, brightest).astype(np.uint8)
    size = (scenes.image_size, scenes.image_size)
    return np.asarray(Image.fromarray(grid).resize(size, Image.Resampling.BICUBIC))


def _draw_ink(rng: np.random.Generator, glyph: Pixels, heights: tuple[int, int]) -> Pixels:
    """A digit at a random size, as opacity (h, w) from 0 to 255, cut to its ink."""
    height = int(rng.integers(heights[0], heights[1], endpoint=True))
    stretch = rng.uniform(0.85, 1.15)
    padded = np.pad(glyph, 1)
    scale = height / glyph.shape[0]
    size = (round(padded.shape[1] * scale * stretch), round(padded.shape[0] * scale))
    large = np.asarray(Image.fromarray(padded).resize(size, Image.Resampling.BICUBIC))
    # Steeper edges: from 8x8 pixels, a stroke would only be a blur.
    steep = ((large.astype(np.int64) - 70) * 255 // 110).clip(0, 255).astype(np.uint8)
    return _crop(steep, least=64)


def _find_place(
    rng: np.random.Generator, shape: tuple[int, ...], taken: list[Box], image_size: int
) -> Box | None:
    """A random place where a digit hides no other; ``None`` if there is hardly any room."""
    height, width = shape
    if height > image_size or width > image_size:
        return None
    for _ in range(50):
        x, y = int(rng.integers(image_size - width + 1)), int(rng.integers(image_size - height + 1))
        box = (x, y, x + width, y + height)
        if all(_cover(box, other) <= MAX_COVER for other in taken):
            return box
    return None


def _cover(one: Box, other: Box) -> float:
    """The intersection of two boxes as a share of the smaller one."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    areas = [(x2 - x1) * (y2 - y1) for x1, y1, x2, y2 in (one, other)]
    return max(width, 0) * max(height, 0) / min(areas)


def _ink_colour(
    rng: np.random.Generator, under: int, contrast: tuple[float, float]
) -> NDArray[np.int64]:
    """A tinted colour (3,) that contrasts with the brightness ``under`` it."""
    step = int(rng.uniform(*contrast) * 255)
    level = under + step if under + step <= 255 or under < 128 else under - step
    tint = rng.integers(-24, 24, size=3, endpoint=True)
    return (level + tint).clip(0, 255)


def _crop(image: Pixels, least: int) -> Pixels:
    """Cut an image to the smallest rectangle that holds all values of at least ``least``."""
    rows, columns = np.nonzero((image >= least).any(1))[0], np.nonzero((image >= least).any(0))[0]
    return image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def load_glyphs() -> tuple[list[Pixels], NDArray[np.int64]]:
    """The handwritten digits, cut to their ink, with values 0 to 255, and their classes."""
    data = load_digits()
    images = (data.images.astype(np.int64) * 255 // 16).astype(np.uint8)
    return [_crop(image, least=48) for image in images], data.target.astype(np.int64)
