"""Making, reading and splitting data sets, the two-stream sampler, and the views of an image."""

from ssod.data import (
    broken_images,
    digits,
    folder,
    gaussian_blur,
    load_image,
    sampler,
    sources,
    views,
)

__all__ = [
    'broken_images',
    'digits',
    'folder',
    'gaussian_blur',
    'load_image',
    'sampler',
    'sources',
    'views',
]
