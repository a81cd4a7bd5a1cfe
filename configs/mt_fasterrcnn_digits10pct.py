# The main example: a mean teacher on the built-in digits scenes, 10 % of them labelled.
_base_ = [
    './_base_/models/mt_faster-rcnn_digits.py',
    './_base_/datasets/semi_digits.py',
    './_base_/schedules/digits.py',
    './_base_/runtime/mean_teacher.py',
]

default_hooks = dict(
    teacher=dict(burn_in=400, decay=dict(decay=0.995), selector=dict(threshold=0.6)),
    quality=dict(ann_file='data/digits/annotations/unlabeled_truth.json'),
    checkpoint=dict(interval=200),
)
randomness = dict(seed=0)
