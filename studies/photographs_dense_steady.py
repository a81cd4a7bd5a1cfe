# A dense detector whose learning rate does not fall at the end, with a verifier of classes.
_base_ = './photographs_dense.py'
methods = dict(
    supervised=dict(settings={'param_scheduler.1.milestones': [1000]}),
    mean_teacher=dict(
        settings={
            'default_hooks.teacher.decay.decay.values': [0.95, 0.99, 0.995],
            'default_hooks.teacher.decay.decay.milestones': [300, 700],
        },
    ),
    verified=dict(
        config='configs/mt_atss_small.py',
        settings={
            'default_hooks.teacher.burn_in': 0,
            'default_hooks.teacher.decay.decay.values': [0.95, 0.99, 0.995],
            'default_hooks.teacher.decay.decay.milestones': [300, 700],
            'model.verifier': dict(scale=1.25),
        },
    ),
)
settings = {'param_scheduler.1.milestones': [1200]}
