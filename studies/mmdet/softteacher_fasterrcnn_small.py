# For comparison: mmdet's own Soft Teacher, hook and pipelines with their shipped settings.
_base_ = [
    '../../configs/_base_/models/mt_faster-rcnn_mobilenetv2_small.py',
    './_base_/small.py',
    '../../configs/_base_/schedules/small.py',
    './_base_/runtime.py',
    './_base_/methods.py',
]

branches = dict(
    type='MultiBranchDataPreprocessor',
    data_preprocessor=_base_.model.data_preprocessor.data_preprocessor,
)
_base_.model.detector.rpn_head.type = 'RPNHead'
_base_.model.detector.roi_head.bbox_roi_extractor.type = 'SingleRoIExtractor'
_base_.model.detector.roi_head.bbox_head.type = 'Shared2FCBBoxHead'
pair = dict(detector=_base_.model.detector, data_preprocessor=branches)
model = dict(_base_.soft_teacher, _delete_=True, **pair)
# Boxes are float32 in mixed precision, like ours.
default_hooks = dict(places=dict(type='PrecisePlacesHook'))
