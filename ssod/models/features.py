"""Features computed once and used by several passes of a detector's heads."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from mmdet.models import BaseDetector
from torch import Tensor, nn

from ssod.replaced import replaced

Features = Sequence[Tensor]
"""One map (B, C, H, W) for each level."""


@contextmanager
def given_features(detector: BaseDetector, features: Features) -> Iterator[None]:
    """Let a detector's ``loss`` and ``predict`` start from these features.

    Every mmdet detector gets its features from its ``extract_feat``; inside this context that
    returns ``features``, so the heads run on what was computed before.
    """
    with replaced(detector, 'extract_feat', lambda batch_inputs: features):
        yield


@contextmanager
def one_pass(head: nn.Module, features: Features) -> Iterator[None]:
    """Run a head only once on the same features, and reuse its outputs.

    Args:
        head: A dense head.
        features: The features to run on once; on any others the head runs as usual.
    """
    forward = head.forward
    said: list[Any] = []

    def once(maps: Features, *others: Any) -> Any:
        """Run the head, or reuse its outputs."""
        if others or maps is not features:
            return forward(maps, *others)
        if not said:
            said.append(forward(maps))
        return said[0]

    with replaced(head, 'forward', once):
        yield


def flat(maps: Features, channels: int) -> Tensor:
    """Maps (B, A · ``channels``, H, W) of each level as one (B, N, ``channels``)."""
    return torch.cat([m.permute(0, 2, 3, 1).reshape(len(m), -1, channels) for m in maps], dim=1)


def features_of(features: Features, start: int, stop: int) -> Features:
    """The features of the images ``start`` to ``stop`` of a batch."""
    return tuple(level[start:stop] for level in features)
