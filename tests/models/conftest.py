"""A network of torchvision's as a backbone, and images for it."""

import torch
from torch import Tensor

from ssod.models.torchvision_backbone import TorchvisionBackbone


def resnet(**settings: object) -> TorchvisionBackbone:
    return TorchvisionBackbone('resnet18', **settings)


def images(seed: int = 0, batch: int = 2) -> Tensor:
    return torch.rand(batch, 3, 64, 96, generator=torch.Generator().manual_seed(seed))
