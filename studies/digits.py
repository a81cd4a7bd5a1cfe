# The digits with their own folds: our methods against mmdet's, as shipped and tuned like ours.
data = dict(
    digits=dict(
        percents=[10, 5],
        train='annotations/train.json',
        val='annotations/val.json',
        images='images/train',
        val_images='images/val',
    )
)
methods = dict(
    supervised='configs/supervised_fasterrcnn_digits10pct.py',
    mean_teacher='configs/mt_fasterrcnn_digits10pct.py',
    mixpl='configs/mixpl_fasterrcnn_digits10pct.py',
    mmdet_semi_base='studies/mmdet/semibase_fasterrcnn_digits.py',
    mmdet_soft_teacher='studies/mmdet/softteacher_fasterrcnn_digits.py',
    # Buffers averaged too, thresholds and λ as in our configs, and a decay (theirs has no
    # schedule) between our two.
    mmdet_semi_base_tuned=dict(
        config='studies/mmdet/semibase_fasterrcnn_digits.py',
        settings={
            'custom_hooks.0.skip_buffer': False,
            'custom_hooks.0.momentum': 0.02,
            'model.semi_train_cfg.cls_pseudo_thr': 0.65,
        },
    ),
    mmdet_soft_teacher_tuned=dict(
        config='studies/mmdet/softteacher_fasterrcnn_digits.py',
        settings={
            'custom_hooks.0.skip_buffer': False,
            'custom_hooks.0.momentum': 0.02,
            'model.semi_train_cfg.rpn_pseudo_thr': 0.7,
            'model.semi_train_cfg.cls_pseudo_thr': 0.7,
            'model.semi_train_cfg.reg_pseudo_thr': 0.05,
            'model.semi_train_cfg.unsup_weight': 2.0,
        },
    ),
)
seeds = [1, 2, 3]
