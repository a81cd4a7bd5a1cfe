# What do sixteen unlabelled images per step gain?
_base_ = './photographs_steady_folds.py'
_sixteen = {
    'train_dataloader.batch_size': 18,
    'train_dataloader.sampler.source_ratio': [2, 16],
}
methods = dict(
    sixteen_unlabeled=dict(
        _base_.methods.verified, settings={**_base_.methods.verified.settings, **_sixteen}
    ),
)
seeds = [1, 2, 3, 4, 5]
del _sixteen
