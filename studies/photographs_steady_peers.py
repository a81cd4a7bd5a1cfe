# How far ahead of mmdet's own methods, on both data sets, and on the images held out?
_base_ = './photographs_steady.py'
data = dict(
    _delete_=True,
    voc2007_s320=dict(percents=[10], size=192),
    bccd=dict(percents=[10], size=192),
)
methods = dict(
    _delete_=True,
    supervised=_base_.methods.supervised,
    verified=_base_.methods.verified,
    mmdet_semi_base=_base_.methods.mmdet_semi_base,
    mmdet_soft_teacher=_base_.methods.mmdet_soft_teacher,
)
seeds = [1, 2, 3]
