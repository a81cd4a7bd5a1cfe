# 180,000 iterations of 8 GPUs × (1 labelled + 4 unlabelled) images.
train_cfg = dict(type='IterBasedTrainLoop', max_iters=180000, val_interval=5000)
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=0.0001, fused=True),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=500),
    dict(type='MultiStepLR', by_epoch=False, milestones=[120000, 160000], gamma=0.1),
]
auto_scale_lr = dict(enable=False, base_batch_size=40)
