# What do eight times the iterations gain?
_base_ = './photographs_long.py'
methods = dict(
    supervised=dict(settings={'default_hooks.teacher.burn_in': 9600}),
    mean_teacher=dict(
        settings={
            'default_hooks.teacher.decay.decay.values': [0.95, 0.99, 0.998],
            'default_hooks.teacher.decay.decay.milestones': [300, 3000],
        }
    ),
)
settings = {'train_cfg.max_iters': 9600, 'param_scheduler.1.milestones': [8000]}
