# COCO with a strong view that is moved too, before or after its colours are changed.
_base_ = './semi_coco.py'

geometry = [
    [dict(type='Rotate')],
    [dict(type='ShearX')],
    [dict(type='ShearY')],
    [dict(type='TranslateX')],
    [dict(type='TranslateY')],
]
strong = [
    *_base_.weak,
    dict(
        type='RandomOrder',
        transforms=[
            dict(type='RandAugment', aug_space=_base_.colour, aug_num=1),
            dict(type='RandAugment', aug_space=geometry, aug_num=1),
        ],
    ),
    dict(type='RandomErasing', n_patches=(1, 5), ratio=(0, 0.2)),
]
unlabeled = _base_.unlabeled
unlabeled.pipeline[1].strong = strong
train_dataloader = dict(dataset=dict(datasets=[_base_.labeled, unlabeled]))
