"""Mixed precision on whatever device there is."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmdet.registry import OPTIM_WRAPPERS
from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.optim import OptimWrapper
from mmengine.runner import autocast
from torch import nn

MIXED = ('AmpOptimWrapper', 'Bfloat16OptimWrapper')
"""Optimizer wrappers that compute forward passes in 16 bits."""


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


def use_amp(cfg: Config) -> None:
    """Train in bfloat16; see :class:`Bfloat16OptimWrapper`.

    A config that has a precision of its own (mmengine's ``AmpOptimWrapper``) keeps it. GPUs before
    Ampere compute bfloat16 as float32, which a warning says.
    """
    if cfg.optim_wrapper.get('type') == 'AmpOptimWrapper':
        return
    cfg.optim_wrapper.type = 'Bfloat16OptimWrapper'
    if torch.cuda.is_available() and not torch.cuda.is_bf16_supported(including_emulation=False):
        print_log(
            'this GPU has no bfloat16 of its own, so that mixed precision will hardly be faster; '
            'give optim_wrapper.type=AmpOptimWrapper for float16',
            'current',
            logging.WARNING,
        )
