"""Mixed precision on any device."""

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
    """Runs forward passes in bfloat16 where PyTorch considers it safe; weights stay float32.

    bfloat16 has the range of float32, so the loss needs no scaling and nothing waits for the GPU to
    report an overflow; mmengine's ``AmpOptimWrapper`` scales bfloat16 too, and does not support
    CPUs. It is faster on GPUs from Ampere on and on CPUs with AVX512-BF16 or AMX, and slower on
    others. Results change: a product has 8 bits of mantissa.

    Args:
        **kwargs: As for mmengine's ``OptimWrapper``.
    """

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Compute in bfloat16, otherwise as in mmengine.

        Args:
            model: The model that runs forward.
        """
        with super().optim_context(model), autocast(dtype=torch.bfloat16):
            yield


def use_amp(cfg: Config) -> None:
    """Train in bfloat16; see :class:`Bfloat16OptimWrapper`.

    A config with its own precision (mmengine's ``AmpOptimWrapper``) keeps it. GPUs before Ampere
    compute bfloat16 as float32; a warning says so.
    """
    if cfg.optim_wrapper.get('type') == 'AmpOptimWrapper':
        return
    cfg.optim_wrapper.type = 'Bfloat16OptimWrapper'
    if torch.cuda.is_available() and not torch.cuda.is_bf16_supported(including_emulation=False):
        print_log(
            'this GPU does not support bfloat16, so mixed precision will hardly be faster; '
            'set optim_wrapper.type=AmpOptimWrapper for float16',
            'current',
            logging.WARNING,
        )
