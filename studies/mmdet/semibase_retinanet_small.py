# To compare with: mmdet's own SemiBaseDetector of a dense detector, with a threshold for sigmoids:
# that of mmdet's docs, 0.9, keeps nothing.
_base_ = [
    '../../configs/_base_/models/mt_retinanet_mobilenetv2_small.py',
    './_base_/small.py',
    '../../configs/_base_/schedules/small.py',
    './_base_/runtime.py',
]

model = dict(
    _delete_=True,
    type='SemiBaseDetector',
    detector=_base_.model.detector,
    data_preprocessor=dict(
        type='MultiBranchDataPreprocessor',
        data_preprocessor=_base_.model.data_preprocessor.data_preprocessor,
    ),
    semi_train_cfg=dict(
        freeze_teacher=True,
        sup_weight=1.0,
        unsup_weight=1.0,
        cls_pseudo_thr=0.4,
        min_pseudo_bbox_wh=(0.01, 0.01),
    ),
    semi_test_cfg=dict(predict_on='teacher'),
)
