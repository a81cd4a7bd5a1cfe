# Mean teacher with a dense detector, on your own photographs resized to 256 pixels, on two cores.
_base_ = [
    './_base_/models/mt_atss_mobilenetv2_small.py',
    './_base_/datasets/semi_small.py',
    './_base_/schedules/small.py',
    './_base_/runtime/mean_teacher.py',
]

# Its regions are cells of maps, which show the same place only in views of the same geometry.
unlabeled = _base_.unlabeled
unlabeled.pipeline[1].update(common=_base_.jitter, weak=[], strong=_base_.strong[3:])
train_dataloader = dict(dataset=dict(datasets=[_base_.labeled, unlabeled]))

two_phases = dict(_delete_=True, type='stepwise', values=[0.95, 0.99], milestones=[300])
# Pseudo-boxes would teach that whatever the teacher misses is background, and it misses most.
weight = dict(_delete_=True, type='sigmoid', end=2.0, steps=100)
model = dict(pseudo_weight=0.0, consistency=dict(weight=weight, kind='kl', num_regions=256))
teacher = dict(burn_in=1200, decay=dict(decay=two_phases), selector=dict(threshold=0.4))
default_hooks = dict(teacher=teacher, checkpoint=dict(interval=400))
