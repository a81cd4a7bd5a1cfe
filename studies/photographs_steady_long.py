# What do three times the iterations gain, with the labels only, the default and eight images?
_base_ = './photographs_steady.py'
data = dict(_delete_=True, voc2007_s320=dict(percents=[10], size=192))
_verified = {
    'default_hooks.teacher.burn_in': 0,
    'default_hooks.teacher.decay.decay.values': [0.95, 0.99, 0.995, 0.998],
    'default_hooks.teacher.decay.decay.milestones': [300, 700, 2000],
}
methods = dict(
    _delete_=True,
    supervised=dict(
        config='configs/supervised_fasterrcnn_small.py',
        settings={
            'default_hooks.teacher.burn_in': 3600,
            'param_scheduler.1.milestones': [3000],
        },
    ),
    verified=dict(config='configs/mt_fasterrcnn_small.py', settings=_verified),
    eight_unlabeled=dict(
        config='configs/mt_fasterrcnn_small.py',
        settings={
            **_verified,
            'train_dataloader.batch_size': 10,
            'train_dataloader.sampler.source_ratio': [2, 8],
        },
    ),
)
settings = {'train_cfg.max_iters': 3600, 'param_scheduler.1.milestones': [3600]}
del _verified
