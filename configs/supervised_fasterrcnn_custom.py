# Training on your labels only, with the start and schedule of mt_fasterrcnn_custom.py.
_base_ = './mt_fasterrcnn_custom.py'

train_dataloader = dict(
    batch_size=4, sampler=dict(source_ratio=[1]), dataset=dict(datasets=[_base_.labeled])
)
default_hooks = dict(teacher=dict(burn_in=_base_.train_cfg.max_iters))
auto_scale_lr = dict(base_batch_size=4)
