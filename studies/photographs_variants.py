# What do other settings of our mean teacher, and mixed images, gain from the same start?
_base_ = './photographs.py'
data = dict(_delete_=True, voc2007_s320=dict(percents=[10], size=192))
methods = dict(
    _delete_=True,
    supervised=_base_.methods.supervised,
    mean_teacher=_base_.methods.mean_teacher,
    half_the_weight=dict(
        config='configs/mt_unverified_fasterrcnn_small.py',
        settings={
            'default_hooks.teacher.burn_in': 0,
            'model.consistency.weight.end': 1.0,
        },
    ),
    twice_the_weight_of_half_the_regions=dict(
        config='configs/mt_unverified_fasterrcnn_small.py',
        settings={
            'default_hooks.teacher.burn_in': 0,
            'model.consistency.weight.end': 4.0,
            'model.consistency.num_regions': 48,
        },
    ),
    twice_the_unlabeled_images=dict(
        config='configs/mt_unverified_fasterrcnn_small.py',
        settings={
            'default_hooks.teacher.burn_in': 0,
            'train_dataloader.batch_size': 10,
            'train_dataloader.sampler.source_ratio': [1, 4],
        },
    ),
    no_boxes=dict(
        config='configs/mt_unverified_fasterrcnn_small.py',
        settings={'default_hooks.teacher.burn_in': 0, 'model.pseudo_weight': 0.0},
    ),
    two_changes_of_colour=dict(
        config='configs/mt_unverified_fasterrcnn_small.py',
        settings={
            'default_hooks.teacher.burn_in': 0,
            'train_dataloader.dataset.datasets.1.pipeline.1.strong.3.aug_num': 2,
        },
    ),
    half_the_rate=dict(
        config='configs/mt_unverified_fasterrcnn_small.py',
        settings={'default_hooks.teacher.burn_in': 0, 'optim_wrapper.optimizer.lr': 0.00025},
    ),
    twice_the_rate=dict(
        config='configs/mt_unverified_fasterrcnn_small.py',
        settings={'default_hooks.teacher.burn_in': 0, 'optim_wrapper.optimizer.lr': 0.001},
    ),
    labels_at_twice_the_rate=dict(
        config='configs/supervised_fasterrcnn_small.py',
        settings={'default_hooks.teacher.burn_in': 1200, 'optim_wrapper.optimizer.lr': 0.001},
    ),
    mixed_images=dict(
        config='configs/mixpl_fasterrcnn_small.py', settings={'default_hooks.teacher.burn_in': 0}
    ),
)
seeds = [1]
settings = {
    'default_hooks.teacher.decay.decay.values': [0.95, 0.99],
    'default_hooks.teacher.decay.decay.milestones': [300],
}
