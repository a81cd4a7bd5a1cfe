# The digits with folds of their own: ours against mmdet's, as shipped and with buffers in its EMA.
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
    mmdet_semi_base_buffers=dict(
        config='studies/mmdet/semibase_fasterrcnn_digits.py',
        settings={'custom_hooks.0.skip_buffer': False},
    ),
    mmdet_soft_teacher_buffers=dict(
        config='studies/mmdet/softteacher_fasterrcnn_digits.py',
        settings={'custom_hooks.0.skip_buffer': False},
    ),
)
seeds = [1, 2, 3]
