"""The parts that only one published method uses, one file each; see docs/recipes.md."""

from ssod.recipes.consistent_teacher import (
    AdaptiveAssigner,
    ConsistentTeacher,
    FAM3DHead,
)
from ssod.recipes.dense_teacher import DenseTeacher
from ssod.recipes.mixpl import MixPL, MixPLHook
from ssod.recipes.soft_teacher import SoftTeacherDetector
from ssod.recipes.stac import OfflineTeacherHook
from ssod.recipes.unbiased_teacher import SoftmaxFocalLoss

__all__ = [
    'AdaptiveAssigner',
    'ConsistentTeacher',
    'DenseTeacher',
    'FAM3DHead',
    'MixPL',
    'MixPLHook',
    'OfflineTeacherHook',
    'SoftTeacherDetector',
    'SoftmaxFocalLoss',
]
