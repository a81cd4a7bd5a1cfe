# What do eight unlabelled images per step gain, instead of four?
_base_ = './photographs_steady.py'
_eight = {
    'train_dataloader.batch_size': 10,
    'train_dataloader.sampler.source_ratio': [2, 8],
}
methods = dict(
    _delete_=True,
    supervised=_base_.methods.supervised,
    verified=_base_.methods.verified,
    eight_unlabeled=dict(
        _base_.methods.verified, settings={**_base_.methods.verified.settings, **_eight}
    ),
    mmdet_semi_base_eight=dict(config=_base_.methods.mmdet_semi_base, settings=_eight),
    mmdet_soft_teacher_eight=dict(config=_base_.methods.mmdet_soft_teacher, settings=_eight),
    mmdet_semi_base_tuned_eight=dict(
        _base_.methods.mmdet_semi_base_tuned,
        settings={**_base_.methods.mmdet_semi_base_tuned.settings, **_eight},
    ),
    mmdet_soft_teacher_tuned_eight=dict(
        _base_.methods.mmdet_soft_teacher_tuned,
        settings={**_base_.methods.mmdet_soft_teacher_tuned.settings, **_eight},
    ),
)
del _eight
