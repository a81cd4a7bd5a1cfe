# The learning rate does not fall at the end, except with the labels only, where falling is better.
_base_ = './photographs.py'
methods = dict(
    _delete_=True,
    supervised=dict(
        config='configs/supervised_fasterrcnn_small.py',
        settings={
            'default_hooks.teacher.burn_in': 1200,
            'param_scheduler.1.milestones': [1000],
        },
    ),
    verified=dict(
        config='configs/mt_fasterrcnn_small.py',
        settings={
            'default_hooks.teacher.burn_in': 0,
            'default_hooks.teacher.decay.decay.milestones': [300, 700],
        },
    ),
    mean_teacher=dict(
        config='configs/mt_unverified_fasterrcnn_small.py',
        settings={
            'default_hooks.teacher.burn_in': 0,
            'default_hooks.teacher.decay.decay.milestones': [300, 700],
        },
    ),
    # The labels only, with averaged weights.
    averaged=dict(
        config='configs/mt_unverified_fasterrcnn_small.py',
        settings={
            'default_hooks.teacher.burn_in': 0,
            'default_hooks.teacher.decay.decay.milestones': [300, 700],
            'model.pseudo_weight': 0.0,
            'model.pseudo_factors': None,
            'model.consistency': None,
        },
    ),
    mmdet_semi_base='studies/mmdet/semibase_fasterrcnn_small.py',
    mmdet_soft_teacher='studies/mmdet/softteacher_fasterrcnn_small.py',
    mmdet_semi_base_tuned=dict(
        config='studies/mmdet/semibase_fasterrcnn_small_tuned.py',
        settings={'custom_hooks.0.momentum': 0.01},
    ),
    mmdet_soft_teacher_tuned=dict(
        config='studies/mmdet/softteacher_fasterrcnn_small_tuned.py',
        settings={'custom_hooks.0.momentum': 0.01},
    ),
)
seeds = [1, 2]
settings = {'param_scheduler.1.milestones': [1200]}
