# What does the verifier of classes gain?
_base_ = './photographs.py'
data = dict(voc2007_s320=dict(percents=[10, 5]))
methods = dict(
    _delete_=True,
    supervised=_base_.methods.supervised,
    verified=dict(_base_.methods.mean_teacher, config='configs/mt_fasterrcnn_small.py'),
    mean_teacher=_base_.methods.mean_teacher,
)
seeds = [1, 2]
