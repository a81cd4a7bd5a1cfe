# Training on 10 % of COCO's labels only, Faster R-CNN R50-FPN: 8 GPUs × 1 image, 180k.
_base_ = './mt_fasterrcnn_coco10pct.py'

train_dataloader = dict(
    batch_size=1, sampler=dict(source_ratio=[1]), dataset=dict(datasets=[_base_.labeled])
)
default_hooks = dict(teacher=dict(burn_in=_base_.train_cfg.max_iters))
auto_scale_lr = dict(base_batch_size=8)
