# Consistent-Teacher on the built-in digits scenes, 10 % of them labelled.
_base_ = [
    './_base_/models/consistent_retinanet_digits.py',
    './_base_/datasets/semi_digits.py',
    './_base_/schedules/digits.py',
    './_base_/runtime/mean_teacher.py',
]

mixture = dict(type='PeakMixtureSelector', num_classes=10, length=100, default=0.0, least=4)
selector = dict(
    _delete_=True,
    type='SelectorChain',
    selectors=[dict(type='ExpectedCountSelector'), mixture],
)
# A dense head learns more slowly than a region head: longer burn-in, less weight. 0.9995 would
# average all iterations of teaching.
two_phases = dict(_delete_=True, type='stepwise', values=[0.995, 0.998], milestones=[800])
model = dict(pseudo_weight=0.25)
default_hooks = dict(
    teacher=dict(burn_in=1000, decay=dict(decay=two_phases), selector=selector),
    quality=dict(ann_file='data/digits/annotations/unlabeled_truth.json'),
    checkpoint=dict(interval=250),
)
randomness = dict(seed=0)
