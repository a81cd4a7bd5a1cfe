"""mmdet's preprocessing of a batch, faster on a CPU, with the same numbers."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmdet.models import DetDataPreprocessor
from mmdet.registry import MODELS
from mmengine.model import ImgDataPreprocessor
from torch import Tensor, nn


def build_preprocessor(cfg: Mapping[str, Any]) -> nn.Module:
    """A detector's own preprocessor: a quick version of mmdet's, any other as it is."""
    kind = cfg['type']
    if (MODELS.get(kind) if isinstance(kind, str) else kind) is not DetDataPreprocessor:
        preprocessor: nn.Module = MODELS.build(dict(cfg))
        return preprocessor
    return QuickDetDataPreprocessor(**{key: cfg[key] for key in cfg if key != 'type'})


class _Normalization(ImgDataPreprocessor):
    """Normalizes images directly into the batch, in ``channels_last`` order.

    mmengine makes five copies of each image, in plane order; this makes one.
    """

    def forward(self, data: dict[str, Any], training: bool = False) -> dict[str, Any]:
        """Normalize, pad and stack; see ``ImgDataPreprocessor``."""
        images = data['inputs']
        if not self._is_common(images):
            converted: dict[str, Any] = super().forward(data, training)
            return converted
        # Nothing has to be moved. Predicting writes into the samples, so give it copies of the
        # loader's, as mmengine does.
        samples = data.get('data_samples')
        if samples is not None and not training:
            samples = [sample.new() for sample in samples]
        return {**data, 'inputs': self._batch(images), 'data_samples': samples}

    def _is_common(self, images: Any) -> bool:
        """Whether these are colour images on a CPU that are to be normalized."""
        return (
            self.device.type == 'cpu'
            and self._enable_normalize
            and isinstance(images, Sequence)
            and len(images) > 0
            and all(image.device.type == 'cpu' and len(image) == 3 for image in images)
        )

    def _batch(self, images: Sequence[Tensor]) -> Tensor:
        """Images (3, H, W), each of its own size, as (B, 3, H, W)."""
        divisor = self.pad_size_divisor
        height, width = (
            -(-max(image.shape[axis] for image in images) // divisor) * divisor for axis in (1, 2)
        )
        # A row of an image is one vector, and so are the means of its pixels' channels.
        mean, std = (values.flatten().expand(3).repeat(width) for values in (self.mean, self.std))
        batch = torch.full((len(images), height, 3 * width), float(self.pad_value))
        for place, image in zip(batch, images, strict=True):
            h, w = image.shape[1:]
            pixels = image.permute(1, 2, 0)
            if self._channel_conversion:
                pixels = pixels.flip(-1)
            row = 3 * w
            normalized = place[:h, :row]
            torch.sub(pixels.reshape(h, row), mean[:row], out=normalized)
            normalized.div_(std[:row])
        return batch.view(len(images), height, width, 3).permute(0, 3, 1, 2)


class QuickDetDataPreprocessor(DetDataPreprocessor, _Normalization):
    """``DetDataPreprocessor`` with :class:`_Normalization`.

    Args:
        args: See ``DetDataPreprocessor``.
        non_blocking: Whether to copy images and boxes to a GPU without waiting for it.
        kwargs: See ``DetDataPreprocessor``.
    """

    def __init__(self, *args: Any, non_blocking: bool = True, **kwargs: Any) -> None:
        super().__init__(*args, non_blocking=non_blocking, **kwargs)
