# The digits for MixPL: no patches are erased before images are mixed.
_base_ = './semi_digits.py'

unlabeled = _base_.unlabeled
unlabeled.pipeline[1].strong.pop()
train_dataloader = dict(dataset=dict(datasets=[_base_.labeled, unlabeled]))
