# MixPL on the built-in digits: Faster R-CNN learns from mixed pseudo-labelled images.
_base_ = [
    './_base_/models/mt_faster-rcnn_digits.py',
    './_base_/datasets/semi_digits_mixpl.py',
    './_base_/schedules/digits.py',
    './_base_/runtime/mixpl.py',
]

twice = dict(detector=_base_.model.detector, data_preprocessor=_base_.model.data_preprocessor)
model = dict(twice, _delete_=True, type='MixPL', pseudo_weight=1.0)
two_phases = dict(_delete_=True, type='stepwise', values=[0.95, 0.99], milestones=[800])
default_hooks = dict(
    teacher=dict(burn_in=500, decay=dict(decay=two_phases), selector=dict(threshold=0.65)),
    # No flips: a mirrored digit is not a digit.
    mixpl=dict(mosaic_sides=(32, 64), patches=(1, 4), patch_side=0.2, flip=False),
    quality=dict(ann_file='data/digits/annotations/unlabeled_truth.json'),
    checkpoint=dict(interval=250),
)
randomness = dict(seed=0)
