# Does the teacher help on real photographs, and more than mmdet's own methods?
# All start from 3,000 iterations on the labels and continue for 1,200; the learning rate falls for
# the last 200.
data = dict(
    voc2007_s320=dict(percents=[10, 5, 1], size=192),
    bccd=dict(percents=[10, 5], size=192),
)
start = dict(
    config='configs/supervised_fasterrcnn_small.py',
    settings={
        'train_cfg.max_iters': 3000,
        'train_dataloader.batch_size': 4,
        'optim_wrapper.optimizer.lr': 0.001,
        'param_scheduler.1.milestones': [2500],
        'default_hooks.teacher.burn_in': 3000,
    },
)
methods = dict(
    supervised=dict(
        config='configs/supervised_fasterrcnn_small.py',
        settings={'default_hooks.teacher.burn_in': 1200},
    ),
    mean_teacher=dict(
        config='configs/mt_unverified_fasterrcnn_small.py',
        settings={
            'default_hooks.teacher.burn_in': 0,
            'default_hooks.teacher.decay.decay.values': [0.95, 0.99],
            'default_hooks.teacher.decay.decay.milestones': [300],
        },
    ),
    # All heads learn from confident boxes, and from nothing else.
    boxes_alone=dict(
        config='configs/mt_unverified_fasterrcnn_small.py',
        settings={
            'default_hooks.teacher.burn_in': 0,
            'default_hooks.teacher.decay.decay.values': [0.95, 0.99],
            'default_hooks.teacher.decay.decay.milestones': [300],
            'model.consistency': None,
            'model.pseudo_factors': None,
        },
    ),
    soft_teacher=dict(
        config='configs/softteacher_fasterrcnn_small.py',
        settings={
            'default_hooks.teacher.burn_in': 0,
            'default_hooks.teacher.decay.decay.values': [0.95, 0.99],
            'default_hooks.teacher.decay.decay.milestones': [300],
        },
    ),
    mmdet_semi_base='studies/mmdet/semibase_fasterrcnn_small.py',
    mmdet_soft_teacher='studies/mmdet/softteacher_fasterrcnn_small.py',
    mmdet_semi_base_tuned='studies/mmdet/semibase_fasterrcnn_small_tuned.py',
    mmdet_soft_teacher_tuned='studies/mmdet/softteacher_fasterrcnn_small_tuned.py',
)
seeds = [1, 2, 3]
settings = {
    'train_cfg.max_iters': 1200,
    'optim_wrapper.type': 'Bfloat16OptimWrapper',
    'optim_wrapper.optimizer.lr': 0.0005,
    'param_scheduler.1.milestones': [1000],
}
