# Mean teacher on own photographs made 256 pixels large: MobileNetV2 from ImageNet, on two cores.
_base_ = [
    './_base_/models/mt_faster-rcnn_mobilenetv2_small.py',
    './_base_/datasets/semi_small.py',
    './_base_/schedules/small.py',
    './_base_/runtime/mean_teacher.py',
]

two_phases = dict(_delete_=True, type='stepwise', values=[0.95, 0.98], milestones=[300])
model = dict(pseudo_weight=dict(_delete_=True, type='sigmoid', end=1.0, steps=200))
default_hooks = dict(
    teacher=dict(burn_in=1200, decay=dict(decay=two_phases)), checkpoint=dict(interval=400)
)
