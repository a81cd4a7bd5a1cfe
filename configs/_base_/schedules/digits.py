# A schedule that takes minutes on two cores.
train_cfg = dict(type='IterBasedTrainLoop', max_iters=1500, val_interval=250)
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=0.001, weight_decay=0.01, fused=True),
    clip_grad=dict(max_norm=10),
)
param_scheduler = [dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=100)]
auto_scale_lr = dict(enable=False, base_batch_size=16)
