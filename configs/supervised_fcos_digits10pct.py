# Training on the labels only: FCOS on the built-in digits, burn-in never ends.
_base_ = [
    './_base_/models/mt_fcos_digits.py',
    './_base_/datasets/semi_digits.py',
    './_base_/schedules/digits.py',
    './_base_/runtime/mean_teacher.py',
]

train_dataloader = dict(
    batch_size=4, sampler=dict(source_ratio=[1]), dataset=dict(datasets=[_base_.labeled])
)
auto_scale_lr = dict(base_batch_size=4)
default_hooks = dict(
    teacher=dict(burn_in=_base_.train_cfg.max_iters), checkpoint=dict(interval=250)
)
randomness = dict(seed=0)
