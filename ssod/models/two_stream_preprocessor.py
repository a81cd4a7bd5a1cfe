"""Preprocessing of a batch that holds labelled images and strong views."""

from typing import Any

import torch
from mmdet.registry import MODELS
from mmengine.model import BaseDataPreprocessor
from torch import Tensor, nn

from ssod.data.branches import pop_branch
from ssod.strict import strict_settings


@MODELS.register_module()
@strict_settings
class TwoStreamPreprocessor(BaseDataPreprocessor):
    """Labelled images and strong views become one padded tensor, for one pass of the backbone.

    A batch without branches (validation, or the teacher's weak views) goes through the detector's
    own preprocessor as it is.

    Args:
        data_preprocessor: Config of the detector's own preprocessor.
    """

    def __init__(self, data_preprocessor: dict[str, Any]) -> None:
        super().__init__()
        self.data_preprocessor: nn.Module = MODELS.build(data_preprocessor)

    def forward(self, data: dict[str, Any], training: bool = False) -> dict[str, Any]:
        """Normalize, pad and stack.

        Args:
            data: What the loader gave, see :mod:`ssod.data.branches`; ``weak`` was taken out.
            training: Whether to apply the augmentations of whole batches.

        Returns:
            ``inputs`` (B, 3, H, W), labelled images first, and ``data_samples`` as a dict of the
            lists ``labeled`` and ``strong``.
        """
        if not isinstance(data['inputs'], dict):
            return self.data_preprocessor(data, training)
        data = {key: dict(branches) for key, branches in data.items()}
        labeled, strong = pop_branch(data, 'labeled'), pop_branch(data, 'strong')
        together = {key: labeled[key] + strong[key] for key in ('inputs', 'data_samples')}
        together = self.data_preprocessor(together, training)
        samples, count = together['data_samples'], len(labeled['inputs'])
        together['data_samples'] = {'labeled': samples[:count], 'strong': samples[count:]}
        together['inputs'] = pixel_by_pixel(together['inputs'])
        return together


def pixel_by_pixel(inputs: Tensor) -> Tensor:
    """Images on a CPU in ``channels_last`` order, in which convolutions are faster.

    The maps that follow from them lie so, too. Validation is left alone, so that it gives the very
    numbers of a published detector.

    Args:
        inputs: (B, 3, H, W).
    """
    if inputs.device.type != 'cpu':
        return inputs
    return inputs.contiguous(memory_format=torch.channels_last)
