# To compare with on the digits: mmdet's own SemiBaseDetector, with the settings that its docs give.
_base_ = './softteacher_fasterrcnn_digits.py'

model = dict(
    type='SemiBaseDetector',
    semi_train_cfg=dict(
        _delete_=True,
        freeze_teacher=True,
        sup_weight=1.0,
        unsup_weight=1.0,
        cls_pseudo_thr=0.9,
        min_pseudo_bbox_wh=(0.01, 0.01),
    ),
)
