# Dense Teacher, FCOS R50-FPN, 10 % of COCO labelled: 8 GPUs × (4 + 2) images, 180k.
_base_ = [
    './_base_/models/mt_fcos_r50_fpn.py',
    './_base_/datasets/semi_coco_dense.py',
    './_base_/schedules/semi_180k.py',
    './_base_/runtime/mean_teacher.py',
]

model = dict(type='DenseTeacher', pseudo_weight=dict(type='linear', end=1.0, steps=5000))
default_hooks = dict(
    # The boxes are only counted; the student does not learn from them.
    teacher=dict(
        burn_in=5000,
        decay=dict(_delete_=True, type='constant', value=0.9996),
        selector=dict(threshold=0.4),
    )
)
optim_wrapper = dict(
    constructor='MergedGroupsConstructor',
    paramwise_cfg=dict(norm_decay_mult=0.0),
    clip_grad=dict(type='value', clip_value=1.0),
)
param_scheduler = [dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=1000)]
auto_scale_lr = dict(base_batch_size=48)
