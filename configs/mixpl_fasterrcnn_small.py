# MixPL on small photographs: pseudo-boxes on mixed images train all heads.
_base_ = [
    './_base_/models/mt_faster-rcnn_mobilenetv2_small.py',
    './_base_/datasets/semi_small.py',
    './_base_/schedules/small.py',
    './_base_/runtime/mixpl.py',
]

# No patches are erased before images are mixed.
unlabeled = _base_.unlabeled
unlabeled.pipeline[1].strong.pop()
train_dataloader = dict(dataset=dict(datasets=[_base_.labeled, unlabeled]))

twice = dict(detector=_base_.model.detector, data_preprocessor=_base_.model.data_preprocessor)
weight = dict(type='sigmoid', end=1.0, steps=200)
model = dict(twice, _delete_=True, type='MixPL', pseudo_weight=weight)
two_phases = dict(_delete_=True, type='stepwise', values=[0.95, 0.99], milestones=[300])
default_hooks = dict(
    teacher=dict(burn_in=1200, decay=dict(decay=two_phases)),
    mixpl=dict(mosaic_sides=(85, 171), patches=(1, 5), patch_side=0.2),
    checkpoint=dict(interval=400),
)
