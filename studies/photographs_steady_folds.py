# How much depends on which images are labelled: five sets of them, of one data set and budget.
_base_ = './photographs_steady_eight.py'
data = dict(_delete_=True, voc2007_s320=dict(percents=[10], size=192))
methods = dict(
    _delete_=True,
    supervised=_base_.methods.supervised,
    verified=_base_.methods.verified,
    eight_unlabeled=_base_.methods.eight_unlabeled,
)
seeds = [1, 2, 3, 4, 5]
