"""Preprocessing of a batch that holds labelled images and strong views."""

from typing import Any

import torch
from mmdet.models.data_preprocessors import BatchResize, BatchSyncRandomResize
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.model import BaseDataPreprocessor
from torch import Tensor, nn

from ssod.data.branches import Branch, pop_branch
from ssod.models.quick_preprocessor import build_preprocessor
from ssod.strict import strict_settings


@MODELS.register_module()
@strict_settings
class TwoStreamPreprocessor(BaseDataPreprocessor):
    """Labelled images and strong views become one padded tensor, for one pass of the backbone.

    A batch without branches, as in validation, goes through the detector's own preprocessor.

    Args:
        data_preprocessor: Config of the detector's own preprocessor.
    """

    def __init__(self, data_preprocessor: dict[str, Any]) -> None:
        super().__init__()
        self.data_preprocessor: nn.Module = build_preprocessor(data_preprocessor)

    def forward(self, data: dict[str, Any], training: bool = False) -> dict[str, Any]:
        """Normalize, pad and stack.

        Args:
            data: The loaded batch without ``weak``; see :mod:`ssod.data.branches`.
            training: Whether to apply the augmentations of whole batches.

        Returns:
            ``inputs`` (B, 3, H, W), labelled images first, and ``data_samples`` as a dict of the
            lists ``labeled`` and ``strong``.
        """
        if not isinstance(data['inputs'], dict):
            batch: dict[str, Any] = self.data_preprocessor(data, training)
            return {**batch, 'inputs': batch['inputs'].contiguous()}
        data = {key: dict(branches) for key, branches in data.items()}
        labeled, strong = pop_branch(data, 'labeled'), pop_branch(data, 'strong')
        together = Branch(
            inputs=labeled['inputs'] + strong['inputs'],
            data_samples=labeled['data_samples'] + strong['data_samples'],
        )
        inputs, samples = self.stack(together, training)
        count = len(labeled['inputs'])
        return {
            'inputs': inputs,
            'data_samples': {'labeled': samples[:count], 'strong': samples[count:]},
        }

    def stack(self, branch: Branch, training: bool = False) -> tuple[Tensor, list[DetDataSample]]:
        """Normalize, pad and stack one branch.

        On a CPU the images, and so their feature maps, are in ``channels_last`` order, in which
        convolutions are faster. Validation stays in mmdet's order, so that it gives exactly the
        numbers of a published detector.

        Args:
            branch: Images as loaded, and their samples.
            training: Whether to apply the augmentations of whole batches.

        Returns:
            Images (B, 3, H, W), and their samples.
        """
        batch = self.data_preprocessor(branch, training)
        inputs: Tensor = batch['inputs']
        on_cpu = inputs.device.type == 'cpu'
        order = torch.channels_last if on_cpu else torch.contiguous_format
        return inputs.contiguous(memory_format=order), batch['data_samples']


def refuse_resizing(preprocessor: nn.Module) -> None:
    """Refuse augmentations of whole batches that would move boxes but not the teacher's regions.

    Args:
        preprocessor: A detector's own preprocessor.

    Raises:
        ValueError: If it has such an augmentation.
    """
    for augment in getattr(preprocessor, 'batch_augments', None) or []:
        if isinstance(augment, BatchResize | BatchSyncRandomResize):
            raise ValueError(
                f'data_preprocessor: {type(augment).__name__} in batch_augments would resize the '
                f'strong views, but not the regions that the teacher judged; remove it, or use '
                f'SemiSupervisedDetector with consistency=None'
            )
