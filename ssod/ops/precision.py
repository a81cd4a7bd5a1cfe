"""The precision in which the operators compute."""

import torch
from torch import Tensor


def working_dtype(*tensors: Tensor) -> torch.dtype:
    """Return the precision in which an operator works on these tensors.

    Half precision (automatic mixed precision) and integers are computed in float32, as
    torchvision does under autocast: its CPU kernels have no half precision and none of
    its kernels has bfloat16. float64 stays float64.

    Args:
        tensors: One or more tensors of any dtype.

    Returns:
        ``torch.float64`` if any tensor is float64, ``torch.float32`` otherwise.
    """
    wide = any(tensor.dtype == torch.float64 for tensor in tensors)
    return torch.float64 if wide else torch.float32
