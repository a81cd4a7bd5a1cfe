"""Mixed precision on whatever device there is."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmdet.registry import OPTIM_WRAPPERS
from mmengine.optim import OptimWrapper
from mmengine.runner import autocast
from torch import nn


@OPTIM_WRAPPERS.register_module()
class Bfloat16OptimWrapper(OptimWrapper):
    """Forward passes in bfloat16 wherever PyTorch holds it for safe; weights stay float32.

    bfloat16 has the range of float32, so the loss is not scaled, and nothing waits for the GPU to
    say whether it overflowed; mmengine's ``AmpOptimWrapper`` scales bfloat16, too, and knows no
    CPU. It pays on GPUs from Ampere on and on CPUs with AVX512-BF16 or AMX; others are slower with
    it. Numbers change: a product has 8 bits of mantissa.

    Args:
        **kwargs: Of mmengine's ``OptimWrapper``.
    """

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Compute in bfloat16, and else as mmengine does.

        Args:
            model: The model whose forward pass it is.
        """
        with super().optim_context(model), autocast(dtype=torch.bfloat16):
            yield
