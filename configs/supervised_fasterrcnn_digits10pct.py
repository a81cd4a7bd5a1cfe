# Training on the labels only: the main example with a burn-in that never ends.
_base_ = './mt_fasterrcnn_digits10pct.py'

train_dataloader = dict(
    batch_size=4,
    sampler=dict(source_ratio=[1]),
    dataset=dict(datasets=[_base_.labeled]),
)
auto_scale_lr = dict(base_batch_size=4)
default_hooks = dict(teacher=dict(burn_in=_base_.train_cfg.max_iters))
