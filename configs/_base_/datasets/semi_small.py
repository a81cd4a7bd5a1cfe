# Photographs resized to 256 pixels, labelled and unlabelled; files and classes as for own data.
# Training sizes vary from half to almost twice that, because a few images are soon memorised.
_base_ = './semi_coco.py'
weak = [
    dict(type='RandomResize', scale=(256, 256), ratio_range=(0.8, 1.2), keep_ratio=True),
    dict(type='RandomFlip', prob=0.5),
]
jitter = [
    dict(type='RandomResize', scale=(256, 256), ratio_range=(0.5, 1.75), keep_ratio=True),
    dict(type='RandomCrop', crop_size=(256, 256), allow_negative_crop=True),
    dict(type='RandomFlip', prob=0.5),
]
strong = [
    *jitter,
    dict(type='RandAugment', aug_space=_base_.colour, aug_num=1),
    dict(type='RandomErasing', n_patches=(1, 5), ratio=(0, 0.2)),
]
labeled, unlabeled = _base_.labeled, _base_.unlabeled
labeled.pipeline[2].transforms[:2] = jitter
unlabeled.pipeline[1].update(weak=weak, strong=strong)
score = _base_.score
score[0].scale = (256, 256)

train_dataloader = dict(
    batch_size=6,
    num_workers=1,
    sampler=dict(_delete_=True, type='SourceRatioSampler', source_ratio=[1, 2]),
    dataset=dict(datasets=[labeled, unlabeled]),
)
val_dataloader = dict(
    batch_size=8, num_workers=1, dataset=dict(pipeline=[dict(type='LoadImage'), *score])
)
test_dataloader = dict(
    batch_size=8, num_workers=1, dataset=dict(pipeline=[dict(type='LoadImageFromFile'), *score])
)
