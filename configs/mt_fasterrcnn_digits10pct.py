# The main example: a mean teacher on the built-in digits scenes, 10 % of them labelled.
_base_ = [
    './_base_/models/mt_faster-rcnn_digits.py',
    './_base_/datasets/semi_digits.py',
    './_base_/schedules/digits.py',
    './_base_/runtime/mean_teacher.py',
]

# Two phases: the teacher forgets fast while it still learns much, and slowly afterwards.
two_phases = dict(_delete_=True, type='stepwise', values=[0.95, 0.99], milestones=[800])
default_hooks = dict(
    teacher=dict(burn_in=500, decay=dict(decay=two_phases), selector=dict(threshold=0.65)),
    quality=dict(ann_file='data/digits/annotations/unlabeled_truth.json'),
    checkpoint=dict(interval=250),
)
randomness = dict(seed=0)
