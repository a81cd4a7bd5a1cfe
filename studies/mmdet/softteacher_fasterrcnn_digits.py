# To compare with on the digits: mmdet's own Soft Teacher and hook with their shipped settings.
_base_ = [
    '../../configs/_base_/models/mt_faster-rcnn_digits.py',
    './_base_/digits.py',
    '../../configs/_base_/schedules/digits.py',
    './_base_/runtime.py',
]

model = dict(
    _delete_=True,
    type='SoftTeacher',
    detector=_base_.model.detector,
    data_preprocessor=dict(
        type='MultiBranchDataPreprocessor',
        data_preprocessor=_base_.model.data_preprocessor.data_preprocessor,
    ),
    semi_train_cfg=dict(
        freeze_teacher=True,
        sup_weight=1.0,
        unsup_weight=4.0,
        pseudo_label_initial_score_thr=0.5,
        rpn_pseudo_thr=0.9,
        cls_pseudo_thr=0.9,
        reg_pseudo_thr=0.02,
        jitter_times=10,
        jitter_scale=0.06,
        min_pseudo_bbox_wh=(0.01, 0.01),
    ),
    semi_test_cfg=dict(predict_on='teacher'),
)
