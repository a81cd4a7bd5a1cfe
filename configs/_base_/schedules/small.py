# A schedule that takes minutes on two cores, from pretrained weights.
train_cfg = dict(type='IterBasedTrainLoop', max_iters=2000, val_interval=400)
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='MergedGroupsConstructor',
    optimizer=dict(type='AdamW', lr=0.001, weight_decay=0.05, fused=True),
    paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.2))),
    clip_grad=dict(max_norm=10),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=100),
    dict(type='MultiStepLR', by_epoch=False, milestones=[1100, 1800], gamma=0.3),
]
auto_scale_lr = dict(enable=False, base_batch_size=6)
