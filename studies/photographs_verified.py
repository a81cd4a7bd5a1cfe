# What does the verifier of classes bring, to the teacher and over mmdet's own?
_base_ = './photographs.py'
data = dict(
    _delete_=True,
    voc2007_s320=dict(percents=[10], size=192),
    bccd=dict(percents=[10], size=192),
)
methods = dict(
    _delete_=True,
    supervised=_base_.methods.supervised,
    mean_teacher=_base_.methods.mean_teacher,
    unverified=_base_.methods.unverified,
    mmdet_semi_base_tuned=_base_.methods.mmdet_semi_base_tuned,
    mmdet_soft_teacher_tuned=_base_.methods.mmdet_soft_teacher_tuned,
)
seeds = [1, 2]
