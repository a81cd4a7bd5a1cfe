"""Data sets, their making and splitting, the two-stream sampler and the views of an image."""

from ssod.data import digits, sampler, views

__all__ = ['digits', 'sampler', 'views']
