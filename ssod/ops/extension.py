"""The stand-in for ``mmcv._ext``, and the import finder that provides it."""

import importlib
import sys
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, NoReturn

EXTENSION = 'mmcv._ext'

# One module for each family; its ``__all__`` lists the operators it serves.
FAMILIES = (
    'build_info',
    'carafe',
    'deform_conv',
    'deform_roi_pool',
    'focal_loss',
    'masked_conv',
    'ms_deform_attn',
    'nms',
    'roi_align',
    'roi_pool',
    'sync_bn',
)

# mmdet modules that can be imported without mmcv's operators but then keep a function
# that only raises, and the name that they import from ``mmcv.ops``.
_STAND_INS = {
    'mmdet.structures.mask.structures': 'roi_align',
    'mmdet.utils.large_image': 'batched_nms',
    'mmdet.evaluation.metrics.dump_odvg_results': 'batched_nms',
}


def unserved(name: str) -> Callable[..., NoReturn]:
    """Make the function for an operator that is not provided.

    Args:
        name: The operator's name in ``mmcv._ext``.

    Returns:
        A function that always raises ``NotImplementedError``.
    """

    def operator(*args: object, **kwargs: object) -> NoReturn:
        """Say that there is no such operator."""
        raise NotImplementedError(
            f'operator {name!r}: this mmcv has no compiled operators, and ssod.ops does not '
            'provide this one; install an mmcv built with its operators (mmcv._ext), for '
            'example from source with MMCV_WITH_OPS=1'
        )

    operator.__name__ = name
    return operator


class ServedExtension(ModuleType):
    """A module with every operator; those that are not provided raise an error by name."""

    def __getattr__(self, name: str) -> Callable[..., NoReturn]:
        """Answer for a name that no family provides.

        Raises:
            AttributeError: For names with two leading underscores, which the import
                system asks for and which are not operators.
        """
        if name.startswith('__'):
            raise AttributeError(f'module {self.__name__!r} has no attribute {name!r}')
        return unserved(name)


class ExtensionFinder(MetaPathFinder, Loader):
    """Finds and loads ``mmcv._ext`` if no other finder does."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        """Return the stand-in's spec for ``mmcv._ext`` and nothing for other names."""
        return ModuleSpec(fullname, self) if fullname == EXTENSION else None

    def create_module(self, spec: ModuleSpec) -> ServedExtension:
        """Make the empty module."""
        return ServedExtension(spec.name, __doc__)

    def exec_module(self, module: ModuleType) -> None:
        """Fill the module with every operator of :data:`FAMILIES`."""
        for family in FAMILIES:
            served = importlib.import_module(f'ssod.ops.{family}')
            for name in served.__all__:
                setattr(module, name, getattr(served, name))


def install() -> None:
    """Give the stand-in to the import system; calling it again changes nothing.

    The finder goes last, so a compiled ``mmcv._ext`` is found before it. Nothing heavy
    is imported until the extension is used, unless mmdet modules were already imported
    without operators: their stand-ins are then replaced.
    """
    if not any(isinstance(finder, ExtensionFinder) for finder in sys.meta_path):
        sys.meta_path.append(ExtensionFinder())
    _replace_stand_ins()


def is_served() -> bool:
    """Whether mmcv's operators are the stand-in's, and not compiled ones."""
    return isinstance(importlib.import_module(EXTENSION), ServedExtension)


def _replace_stand_ins() -> None:
    """Give mmdet modules that were imported too early the operators they lack."""
    for module_name, name in _STAND_INS.items():
        module: Any = sys.modules.get(module_name)
        if module is not None and getattr(module, name).__module__ == module_name:
            setattr(module, name, getattr(importlib.import_module('mmcv.ops'), name))
