# What does the verifier of classes bring?
_base_ = './photographs.py'
data = dict(voc2007_s320=dict(percents=[10, 5]))
methods = dict(
    _delete_=True,
    supervised=_base_.methods.supervised,
    verified=dict(
        config='configs/mt_fasterrcnn_small.py',
        settings={
            'default_hooks.teacher.burn_in': 0,
            'default_hooks.teacher.decay.decay.values': [0.95, 0.99],
            'default_hooks.teacher.decay.decay.milestones': [300],
        },
    ),
    mean_teacher=_base_.methods.mean_teacher,
)
seeds = [1, 2]
