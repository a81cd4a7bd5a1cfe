# mmdet's own methods with their shipped settings; a config that uses one adds a detector.
soft_teacher = dict(
    type='SoftTeacher',
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
semi_base = dict(
    type='SemiBaseDetector',
    semi_train_cfg=dict(
        freeze_teacher=True,
        sup_weight=1.0,
        unsup_weight=1.0,
        cls_pseudo_thr=0.9,
        min_pseudo_bbox_wh=(0.01, 0.01),
    ),
    semi_test_cfg=dict(predict_on='teacher'),
)
