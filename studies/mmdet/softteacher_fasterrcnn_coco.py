# For comparison at the size of COCO: mmdet's own Soft Teacher, hook and pipelines.
_base_ = [
    '../../configs/_base_/models/mt_faster-rcnn_r50_fpn.py',
    './_base_/coco.py',
    '../../configs/_base_/schedules/semi_180k.py',
    './_base_/runtime.py',
    './_base_/methods.py',
]

branches = dict(
    type='MultiBranchDataPreprocessor',
    data_preprocessor=_base_.model.data_preprocessor.data_preprocessor,
)
_base_.model.detector.backbone.norm_cfg.requires_grad = False
_base_.model.detector.rpn_head.type = 'RPNHead'
_base_.model.detector.roi_head.bbox_roi_extractor.type = 'SingleRoIExtractor'
_base_.model.detector.roi_head.bbox_head.type = 'Shared2FCBBoxHead'
pair = dict(detector=_base_.model.detector, data_preprocessor=branches)
model = dict(_base_.soft_teacher, _delete_=True, **pair)
# Boxes are float32 in mixed precision, like ours.
default_hooks = dict(places=dict(type='PrecisePlacesHook'))
