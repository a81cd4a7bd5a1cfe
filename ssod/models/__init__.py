"""The student and teacher around any mmdet detector, and where their weights come from."""

from ssod.models.batched_bbox_head import BatchedShared2FCBBoxHead
from ssod.models.batched_rpn_head import BatchedRPNHead
from ssod.models.consistency import Consistency
from ssod.models.precise_places import PrecisePlacesHook
from ssod.models.pretrained import PretrainedDetectorHook
from ssod.models.pyramid_roi_extractor import PyramidRoIExtractor
from ssod.models.semi_supervised_detector import SemiSupervisedDetector
from ssod.models.torchvision_backbone import TorchvisionBackbone
from ssod.models.two_heads import TwoHeadBBoxHead
from ssod.models.two_stream_preprocessor import TwoStreamPreprocessor

__all__ = [
    'BatchedRPNHead',
    'BatchedShared2FCBBoxHead',
    'Consistency',
    'PrecisePlacesHook',
    'PretrainedDetectorHook',
    'PyramidRoIExtractor',
    'SemiSupervisedDetector',
    'TorchvisionBackbone',
    'TwoHeadBBoxHead',
    'TwoStreamPreprocessor',
]
