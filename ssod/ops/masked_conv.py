"""Convolution at chosen places: ``masked_im2col_forward``, ``masked_col2im_forward``.

Source: Wang et al., Region Proposal by Guided Anchoring (CVPR 2019), Sec. 3.2. mmcv's
masked convolution is for inference and has no gradient.
"""

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ['masked_col2im_forward', 'masked_im2col_forward']


def masked_im2col_forward(
    im: Tensor,
    mask_h_idx: Tensor,
    mask_w_idx: Tensor,
    col: Tensor,
    kernel_h: int,
    kernel_w: int,
    pad_h: int,
    pad_w: int,
) -> None:
    """Collect the cells under the kernel at chosen places.

    Args:
        im: (1, C, H, W) map.
        mask_h_idx: (M,) int64, rows of the chosen places in the output.
        mask_w_idx: (M,) int64, columns of the chosen places in the output.
        col: (C * kernel_h * kernel_w, M), written in place; 0 outside the map.
        kernel_h: Kernel's height.
        kernel_w: Kernel's width.
        pad_h: Rows of zeros above and below the map.
        pad_w: Columns of zeros beside the map.
    """
    padded = functional.pad(im[0], (pad_w, pad_w, pad_h, pad_h))
    rows = torch.arange(kernel_h, device=im.device)[:, None, None] + mask_h_idx
    columns = torch.arange(kernel_w, device=im.device)[:, None] + mask_w_idx
    col.copy_(padded[:, rows, columns].flatten(0, 2))


def masked_col2im_forward(
    col: Tensor,
    mask_h_idx: Tensor,
    mask_w_idx: Tensor,
    im: Tensor,
    height: int,
    width: int,
    channels: int,
) -> None:
    """Put results back at the chosen places.

    Args:
        col: (C, M).
        mask_h_idx: (M,) int64, rows of the chosen places.
        mask_w_idx: (M,) int64, columns of the chosen places.
        im: (1, C, height, width), written in place at those places only.
        height: Height of ``im``.
        width: Width of ``im``.
        channels: C.
    """
    im[0, :, mask_h_idx, mask_w_idx] = col.to(im.dtype)
