# Training on the labels only, on small photographs: a burn-in that never ends.
_base_ = './mt_unverified_fasterrcnn_small.py'

train_dataloader = dict(
    batch_size=2, sampler=dict(source_ratio=[1]), dataset=dict(datasets=[_base_.labeled])
)
param_scheduler = _base_.param_scheduler
param_scheduler[1].milestones = [1100, 1800]
auto_scale_lr = dict(base_batch_size=2)
default_hooks = dict(teacher=dict(burn_in=_base_.train_cfg.max_iters))
