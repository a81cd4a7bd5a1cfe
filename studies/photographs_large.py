# What does the teacher gain on larger images, of 320 pixels?
_base_ = './photographs.py'
data = dict(_delete_=True, voc2007_s320=dict(percents=[10], size=320))
methods = dict(
    _delete_=True,
    supervised=_base_.methods.supervised,
    mean_teacher=_base_.methods.mean_teacher,
)
seeds = [1]
