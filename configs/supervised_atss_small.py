# Training on the labels only: a dense detector on small photographs, burn-in never ends.
_base_ = './mt_atss_small.py'

train_dataloader = dict(
    batch_size=2, sampler=dict(source_ratio=[1]), dataset=dict(datasets=[_base_.labeled])
)
auto_scale_lr = dict(base_batch_size=2)
default_hooks = dict(teacher=dict(burn_in=_base_.train_cfg.max_iters))
