"""Data sets, their making and splitting, the two-stream sampler and the views of an image."""

from ssod.data import digits, folder, sampler, views

__all__ = ['digits', 'folder', 'sampler', 'views']
