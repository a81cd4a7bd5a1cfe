"""A yapf that leaves text as it is.

MMEngine lays out a config's text for each log and checkpoint, which takes longer than to train.
"""

__version__ = '0.43.0'
