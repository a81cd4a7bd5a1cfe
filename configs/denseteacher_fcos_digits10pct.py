# Dense Teacher on the built-in digits: FCOS learns from its teacher's maps.
_base_ = [
    './_base_/models/mt_fcos_digits.py',
    './_base_/datasets/semi_digits_dense.py',
    './_base_/schedules/digits.py',
    './_base_/runtime/mean_teacher.py',
]

# A digit covers a larger share of the few cells of a small image than an object of COCO does.
model = dict(type='DenseTeacher', share=0.1, pseudo_weight=dict(type='linear', end=1.0, steps=500))
two_phases = dict(_delete_=True, type='stepwise', values=[0.995, 0.998], milestones=[800])
default_hooks = dict(
    # The boxes are only counted; the student does not learn from them.
    teacher=dict(burn_in=500, decay=dict(decay=two_phases), selector=dict(threshold=0.4)),
    quality=dict(ann_file='data/digits/annotations/unlabeled_truth.json'),
    checkpoint=dict(interval=250),
)
randomness = dict(seed=0)
