"""mmcv's compiled operators, provided through torchvision where mmcv has none.

A plain ``pip install`` of mmcv has no compiled ``mmcv._ext``, without which
``mmcv.ops`` and ``mmdet.models`` cannot be imported. Importing this package makes
them importable: :mod:`ssod.ops.extension` provides a module of that name, unless
there is a compiled one. This package must be imported before ``mmcv.ops``, so
``ssod`` imports it before anything else.
"""

from ssod.ops.extension import install

__all__ = ['install']

install()
