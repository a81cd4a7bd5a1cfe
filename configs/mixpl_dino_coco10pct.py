# MixPL, DINO with four scales of R50, 10 % of COCO labelled: 8 GPUs × (1 + 4) images, 90k.
_base_ = [
    './_base_/models/mt_dino_r50.py',
    './_base_/datasets/semi_coco_mixpl.py',
    './_base_/schedules/semi_180k.py',
    './_base_/runtime/mixpl.py',
]

model = dict(type='MixPL', pseudo_weight=2.0)
default_hooks = dict(teacher=dict(selector=dict(threshold=0.4)))
optim_wrapper = dict(
    constructor='MergedGroupsConstructor',
    optimizer=dict(_delete_=True, type='AdamW', lr=0.0001, weight_decay=0.0001, fused=True),
    clip_grad=dict(max_norm=0.1),
    paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.1))),
)
train_cfg = dict(max_iters=90000)
param_scheduler = []
