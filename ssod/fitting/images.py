"""The size that images are resized to, from the sizes of the labelled ones."""

from typing import NamedTuple

import numpy as np
from mmengine.config import Config
from numpy.typing import NDArray

from ssod.config_parts import scale_sizes, validation_size
from ssod.fitting.given import Given
from ssod.fitting.measures import Labels, Machine

MOST = 0.95
"""Share of the images that decides the size; a few giants do not enlarge the rest."""
FEW = 0.1
"""Share of the boxes that may be smaller than :data:`SMALL`."""
SMALL = 32.0
"""Square root of the area below which COCO calls an object small; far fewer of those are found."""

ENLARGED = 5 / 3
"""How many times images are enlarged on a GPU even if no box needs it: COCO's own, most of them
640×480, are resized to 1067×800, and a detector to start from knows objects of that size."""

TINY = 8.0
"""Square root of the area below which hardly any detector finds an object."""

VIEWS = ('scale', 'scales', 'pipeline', 'transforms', 'weak', 'strong', 'common')
"""Data settings by which a user decides how large images are; then the size is not fitted."""

Size = tuple[int, int]


class FittedSize(NamedTuple):
    """How large images become.

    Args:
        usual: The size that 95 % of them do not exceed, the longer side first.
        small_box: Square root of the area that 90 % of the boxes have at least; ``inf`` without.
        room: The factor that makes the usual size the largest that the config allows.
        factor: The factor that sizes are multiplied with, at most ``room``.
    """

    usual: Size
    small_box: float
    room: float
    factor: float

    @property
    def made(self) -> Size:
        """The usual size after resizing."""
        return round(self.usual[0] * self.factor), round(self.usual[1] * self.factor)


def resize_factor(size: tuple[float, float], scale: Size) -> float:
    """The factor by which mmdet resizes an image that keeps its ratio.

    Args:
        size: The image's sides, in any order.
        scale: The most that the sides may be after the transform, in any order.
    """
    return min(max(scale) / max(size), min(scale) / min(size))


def usual_size(labels: Labels) -> Size:
    """The sides that 95 % of the images do not exceed, the longer one first."""
    sides = np.sort(labels.sizes, axis=1)[:, ::-1]
    longer, shorter = np.quantile(sides, MOST, axis=0, method='inverted_cdf')
    return round(longer), round(shorter)


def fitted_size(labels: Labels, scale: Size, least: float = 1.0) -> FittedSize:
    """Fit the size: as it is, larger only for small boxes, and never above the config's scale.

    Args:
        labels: With at least one size.
        scale: The config's scale for scoring.
        least: How many times images are enlarged without small boxes, at least 1.
    """
    size = usual_size(labels)
    small = np.inf
    if len(labels.boxes):
        roots = np.sqrt(labels.boxes.prod(axis=1))
        small = float(np.quantile(roots, FEW, method='inverted_cdf'))
    room = resize_factor(size, scale)
    return FittedSize(size, small, room, min(room, max(least, SMALL / small)))


def fit_images(cfg: Config, given: Given, labels: Labels, machine: Machine) -> str | None:
    """Scale the sizes of all views and of scoring by the same factor.

    Args:
        cfg: The config; it is changed.
        given: What the user asks for.
        labels: Of the labelled images.
        machine: The machine it runs on.

    Returns:
        What was done; ``None`` if the user gives sizes, or the config's test does not resize.
    """
    scale = validation_size(cfg)
    if given.ends('_dataloader', *VIEWS) or scale is None:
        return None
    if not len(labels.sizes):
        return f'image size up to {_named(scale)}: no labelled image has a size in its JSON'
    # On a CPU the time grows with the number of pixels.
    fitted = fitted_size(labels, scale, 1.0 if machine.gpu_memory is None else ENLARGED)
    share = fitted.factor / fitted.room
    scale_sizes(cfg, (share, share))
    return f'image size {_named(fitted.made)}: {_reason(fitted)}'


def told_tiny(cfg: Config, given: Given, labels: Labels) -> str | None:
    """Warn if objects are too small to be found at the size that images are resized to.

    Args:
        cfg: The config, with its images fitted already.
        given: What the user asks for.
        labels: Of the labelled images.

    Returns:
        The warning; ``None`` if nine of ten boxes are large enough, or no size is known.
    """
    scale = validation_size(given.on(cfg))
    if scale is None or not len(labels.boxes):
        return None
    roots = np.sqrt(at_training_size(labels, scale).prod(axis=1))
    small = float(np.quantile(roots, FEW, method='inverted_cdf'))
    if small >= TINY:
        return None
    return (
        f'boxes: a tenth of the labelled ones are below {small:.1f} pixels after images are '
        f'resized, and hardly any detector finds those; cut the images into tiles, or use a '
        f'config with larger images'
    )


def at_training_size(labels: Labels, scale: Size) -> NDArray[np.float64]:
    """The boxes (N, 2) at the size for scoring, which is the middle of the training sizes.

    Args:
        labels: In pixels of the files.
        scale: The config's scale for scoring.
    """
    factors = np.array([resize_factor((w, h), scale) for w, h in labels.sizes.tolist()])
    boxes: NDArray[np.float64] = labels.boxes * factors[labels.owners][:, None]
    return boxes


def _reason(fitted: FittedSize) -> str:
    if fitted.factor == 1:
        return f'{MOST:.0%} of the labelled images are no larger'
    images = f'{MOST:.0%} of the labelled images are up to {_named(fitted.usual)}'
    is_for_boxes = fitted.factor > 1 and SMALL / fitted.small_box >= fitted.factor
    if fitted.factor == fitted.room and not is_for_boxes:
        return f'the largest that the config allows; {images}'
    if not is_for_boxes:
        return f"{images}, enlarged 5/3 times like COCO's own, because there is a GPU"
    wish = f'{images}, but a tenth of their boxes are below {fitted.small_box:.0f} pixels'
    return wish if fitted.factor < fitted.room else f'{wish}; the config allows no more'


def _named(size: Size) -> str:
    return f'{size[0]}×{size[1]}'
