# COCO for MixPL: the strong view is also moved; no patches are erased before images are mixed.
_base_ = './semi_coco.py'

recolour = dict(type='RandAugment', aug_space=_base_.colour, aug_num=1)
moves = [
    [dict(type='Rotate')],
    [dict(type='ShearX')],
    [dict(type='ShearY')],
    [dict(type='TranslateX')],
    [dict(type='TranslateY')],
]
move = dict(type='RandAugment', aug_space=moves, aug_num=1)
unlabeled = _base_.unlabeled
unlabeled.pipeline[1].strong = [*_base_.weak, dict(type='RandomOrder', transforms=[recolour, move])]
train_dataloader = dict(dataset=dict(datasets=[_base_.labeled, unlabeled]))
