# What one set of labelled pictures cannot say: the same with five, of one data set and budget.
_base_ = './photographs_steady_eight.py'
data = dict(_delete_=True, voc2007_s320=dict(percents=[10], size=192))
methods = dict(
    _delete_=True,
    supervised=_base_.methods.supervised,
    eight_unlabeled=_base_.methods.eight_unlabeled,
    verified=_base_.methods.verified,
    mmdet_semi_base_eight=_base_.methods.mmdet_semi_base_eight,
    mmdet_soft_teacher_eight=_base_.methods.mmdet_soft_teacher_eight,
)
seeds = [1, 2, 3, 4, 5]
