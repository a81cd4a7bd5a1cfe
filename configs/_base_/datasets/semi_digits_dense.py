# The digits for dense pseudo-labels: views share the resize; the strong one changes colours.
_base_ = './semi_digits.py'

unlabeled = _base_.unlabeled
unlabeled.pipeline[1] = dict(
    type='TwoViews',
    common=[dict(type='RandomResize', scale=(96, 96), ratio_range=(0.6, 1.5))],
    weak=[],
    strong=[
        dict(type='PhotoMetricDistortion'),
        dict(type='RandomErasing', n_patches=(1, 4), ratio=(0, 0.2)),
    ],
)
train_dataloader = dict(dataset=dict(datasets=[_base_.labeled, unlabeled]))
