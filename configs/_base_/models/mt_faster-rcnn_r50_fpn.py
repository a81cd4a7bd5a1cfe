# Faster R-CNN R50-FPN, twice: the student and its teacher.
_base_ = 'mmdet::_base_/models/faster-rcnn_r50_fpn.py'

# The same as mmdet's, but faster.
_base_.model.rpn_head.type = 'BatchedRPNHead'
_base_.model.roi_head.bbox_roi_extractor.type = 'PyramidRoIExtractor'
_base_.model.roi_head.bbox_head.type = 'BatchedShared2FCBBoxHead'

model = dict(
    _delete_=True,
    type='SemiSupervisedDetector',
    detector=_base_.model,
    data_preprocessor=dict(
        type='TwoStreamPreprocessor', data_preprocessor=_base_.model.data_preprocessor
    ),
    pseudo_weight=dict(type='sigmoid', end=2.0, steps=4000),
    consistency=dict(weight=dict(type='sigmoid', end=1.0, steps=4000)),
)
