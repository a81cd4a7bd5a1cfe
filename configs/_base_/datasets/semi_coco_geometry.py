# COCO with a strong view that is also moved, before or after its colours change (Soft Teacher).
_base_ = './semi_coco.py'

geometry = [
    [dict(type='TranslateX', max_mag=0.1)],
    [dict(type='TranslateY', max_mag=0.1)],
    [dict(type='Rotate', max_mag=30.0)],
    [dict(type='ShearX', max_mag=30.0), dict(type='ShearY', max_mag=30.0)],
]
strong = [
    *_base_.weak,
    dict(
        type='RandomOrder',
        transforms=[
            dict(type='RandAugment', aug_space=_base_.colour, aug_num=1),
            dict(type='RandomChoice', transforms=geometry),
        ],
    ),
    dict(type='RandomErasing', n_patches=(1, 5), ratio=(0, 0.2)),
]
unlabeled = _base_.unlabeled
unlabeled.pipeline[1].strong = strong
train_dataloader = dict(dataset=dict(datasets=[_base_.labeled, unlabeled]))
