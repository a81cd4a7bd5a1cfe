# And what eight unlabelled images in a step bring, in the place of four.
_base_ = './photographs_steady.py'
data = dict(
    _delete_=True,
    voc2007_s320=dict(percents=[10], size=192),
    bccd=dict(percents=[10], size=192),
)
methods = dict(
    _delete_=True,
    supervised=_base_.methods.supervised,
    verified=_base_.methods.verified,
    eight_unlabeled=dict(
        config='configs/mt_fasterrcnn_small.py',
        settings={
            'default_hooks.teacher.burn_in': 0,
            'default_hooks.teacher.decay.decay.milestones': [300, 700],
            'train_dataloader.batch_size': 10,
            'train_dataloader.sampler.source_ratio': [2, 8],
        },
    ),
)
