"""A device beside the CPU that every machine has: what lies there does not go with what does not.

Its tensors are the CPU's in disguise. Beside the CPU's own they are refused by the same operations
that refuse a GPU's, so a training that gets through here leaves nothing on the CPU.
"""

from typing import Any

import torch
from mmengine.runner import runner
from mmengine.structures import instance_data
from torch import Tensor, library
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.backend_registration import (
    _DummyBackendModule,
    _setup_privateuseone_for_python_backend,
)

NAME = 'elsewhere'
AUTOCAST = library.Library('_', 'IMPL')

aten = torch.ops.aten
BETWEEN = (aten.copy_.default, aten._to_copy.default)
"""Operations from one device to another."""
BY_INDEX = (
    *(aten.index.Tensor, aten.index_put.default, aten.index_put_.default),
    aten._index_put_impl_.default,
)
"""Operations whose indices may lie on the CPU."""


class _Module(_DummyBackendModule):
    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16, torch.float16]


class Elsewhere(TorchDispatchMode):
    """Inside it the device can be used; runners of MMEngine take it.

    It stays known to the process, whose other tests would not be what they were.
    """

    def __enter__(self) -> 'Elsewhere':
        _setup_privateuseone_for_python_backend(NAME, backend_module=_Module())
        # What would be cast for speed stays as it is.
        AUTOCAST.fallback(library.fallthrough_kernel, 'AutocastPrivateUse1')
        # Lists become tensors of the CPU first, and are moved where it can be seen.
        torch._C._set_only_lift_cpu_tensors(True)
        runner.get_device = lambda: NAME
        for name, kind in (('BoolTypeTensor', BoolIndex), ('LongTypeTensor', LongIndex)):
            setattr(instance_data, name, getattr(instance_data, name) | kind)
        instance_data.IndexType |= BoolIndex | LongIndex
        return super().__enter__()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        return compute(func, args, kwargs or {})


class ElsewhereTensor(Tensor):
    """A tensor of the device, and that of the CPU which it is."""

    __torch_function__ = torch._C._disabled_torch_function_impl
    inner: Tensor

    @staticmethod
    def __new__(cls, inner: Tensor) -> 'ElsewhereTensor':
        tensor = Tensor._make_wrapper_subclass(
            cls,
            inner.shape,
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            device=torch.device(NAME, 0),
        )
        tensor.inner = inner
        return tensor

    @classmethod
    def __torch_dispatch__(
        cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        return compute(func, args, kwargs or {})

    def tolist(self) -> Any:
        return self.inner.tolist()

    def __repr__(self) -> str:
        return f'{self.inner!r} {NAME}'

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        copy: Tensor = ElsewhereTensor(self.inner.detach().clone())
        if isinstance(self, torch.nn.Parameter):
            copy = torch.nn.Parameter(copy, self.requires_grad)
        memo[id(self)] = copy
        return copy


class _Index(type):
    dtype: torch.dtype

    def __instancecheck__(cls, value: Any) -> bool:
        return type(value) is ElsewhereTensor and value.dtype == cls.dtype


class BoolIndex(metaclass=_Index):
    """What ``torch.cuda.BoolTensor`` is on a GPU."""

    dtype = torch.bool


class LongIndex(metaclass=_Index):
    """What ``torch.cuda.LongTensor`` is on a GPU."""

    dtype = torch.int64


def compute(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Do an operation on the CPU, with the result where it belongs.

    Raises:
        RuntimeError: If its tensors are of both devices; numbers may be of either.
    """
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    there = [tensor for tensor in tensors if isinstance(tensor, ElsewhereTensor)]
    if there and func not in BETWEEN:
        together = [args[0], *args[2:3]] if func in BY_INDEX else tensors
        here = [t for t in together if not isinstance(t, ElsewhereTensor)]
        if any(tensor.dim() > 0 for tensor in here) or here == together:
            raise RuntimeError(f'{func}: some tensors are {NAME}, some on the CPU')
    device = kwargs.get('device')
    if device is not None:
        goes_there = torch.device(device).type == NAME
    else:
        goes_there = bool(there) if func not in BETWEEN else isinstance(args[0], ElsewhereTensor)
    result = func(*tree_map(_on_cpu, args), **tree_map(_on_cpu, kwargs))
    # What an operation changes stays the tensor that it was.
    known = {id(tensor.inner): tensor for tensor in there}

    def place(value: Any) -> Any:
        if not isinstance(value, Tensor) or not goes_there:
            return value
        return known[id(value)] if id(value) in known else ElsewhereTensor(value)

    return tree_map(place, result)


def _on_cpu(value: Any) -> Any:
    if isinstance(value, ElsewhereTensor):
        return value.inner
    if isinstance(value, torch.device) and value.type == NAME:
        return torch.device('cpu')
    return value
