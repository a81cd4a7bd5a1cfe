# Mean teacher on small photographs, without a verifier of classes.
_base_ = [
    './_base_/models/mt_faster-rcnn_mobilenetv2_small.py',
    './_base_/datasets/semi_small.py',
    './_base_/schedules/small.py',
    './_base_/runtime/mean_teacher.py',
]

# The learning rate does not fall at the end: averaging helps the teacher as much.
param_scheduler = _base_.param_scheduler
param_scheduler[1].milestones = [1100]
slower = dict(_delete_=True, type='stepwise', values=[0.95, 0.99, 0.995], milestones=[200, 500])
# Half of the teacher's confident boxes are wrong, so regions learn its whole distribution; boxes
# train only the proposals.
model = dict(
    pseudo_weight=dict(_delete_=True, type='sigmoid', end=1.0, steps=200),
    pseudo_factors=dict(loss_cls=0.0, loss_bbox=0.0),
    consistency=dict(
        weight=dict(_delete_=True, type='sigmoid', end=2.0, steps=100), kind='kl', num_regions=96
    ),
)
default_hooks = dict(
    teacher=dict(burn_in=1200, decay=dict(decay=slower)), checkpoint=dict(interval=400)
)
