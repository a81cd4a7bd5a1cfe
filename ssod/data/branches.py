"""The branches of a batch: labelled images, and weak and strong views of the unlabelled ones.

The loader gives ``{'inputs': {'labeled': [...], 'weak': [...], 'strong': [...]}, 'data_samples':
{...}}``, where every list is as long as the batch and holds ``None`` where an image has no such
view.
"""

from typing import Any, TypedDict

from mmdet.structures import DetDataSample
from torch import Tensor


class Branch(TypedDict):
    """Images of one branch, (3, H, W) each, and their data samples, in the same order."""

    inputs: list[Tensor]
    data_samples: list[DetDataSample]


def pop_branch(batch: dict[str, Any], name: str) -> Branch:
    """Take a branch out of a batch.

    Returns:
        The branch without its gaps; empty lists if the batch has no branch of that name.
    """
    return Branch(
        inputs=[image for image in batch['inputs'].pop(name, []) if image is not None],
        data_samples=[s for s in batch['data_samples'].pop(name, []) if s is not None],
    )


def put_branch(batch: dict[str, Any], name: str, branch: Branch) -> None:
    """Put a branch back into a batch."""
    batch['inputs'][name] = branch['inputs']
    batch['data_samples'][name] = branch['data_samples']
