"""mmcv's compiled operators, served from torchvision where mmcv has none.

A plain ``pip install`` of mmcv brings no compiled ``mmcv._ext``, without which
``mmcv.ops`` and ``mmdet.models`` cannot be imported. Importing this package makes
them importable: :mod:`ssod.ops.extension` offers a module of that name, and a
compiled one, where there is one, always goes first. It has to be imported before
``mmcv.ops``, which is why ``ssod`` imports it before anything else.
"""

from ssod.ops.extension import install

__all__ = ['install']

install()
