# COCO: a labelled and an unlabelled part of train2017; see tools/split_coco.py.
data_root = 'data/coco/'
scale = [(1333, 400), (1333, 1200)]
colour = [
    [dict(type='ColorTransform')],
    [dict(type='AutoContrast')],
    [dict(type='Equalize')],
    [dict(type='Sharpness')],
    [dict(type='Posterize')],
    [dict(type='Solarize')],
    [dict(type='Color')],
    [dict(type='Contrast')],
    [dict(type='Brightness')],
]
weak = [
    dict(type='RandomResize', scale=scale, keep_ratio=True),
    dict(type='RandomFlip', prob=0.5),
]
# No rotation and no shear; semi_coco_geometry.py has them.
strong = [
    *weak,
    dict(type='RandAugment', aug_space=colour, aug_num=1),
    dict(type='RandomErasing', n_patches=(1, 5), ratio=(0, 0.2)),
]

labeled = dict(
    type='CocoDataset',
    data_root=data_root,
    ann_file='annotations/semi_supervised/instances_train2017.1@10.json',
    data_prefix=dict(img='train2017/'),
    filter_cfg=dict(filter_empty_gt=False),
    pipeline=[
        dict(type='LoadImage'),
        dict(type='LoadAnnotations', with_bbox=True),
        dict(
            type='LabeledView',
            transforms=[*weak, dict(type='RandAugment', aug_space=colour, aug_num=1)],
        ),
    ],
)
unlabeled = dict(
    type='CocoDataset',
    data_root=data_root,
    ann_file='annotations/semi_supervised/instances_train2017.1@10-unlabeled.json',
    data_prefix=dict(img='train2017/'),
    filter_cfg=dict(filter_empty_gt=False),
    pipeline=[
        dict(type='LoadImage'),
        dict(type='TwoViews', weak=weak, strong=strong),
    ],
)

score = [
    dict(type='Resize', scale=(1333, 800), keep_ratio=True),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='PackDetInputs'),
]

train_dataloader = dict(
    batch_size=5,
    num_workers=5,
    persistent_workers=True,
    sampler=dict(type='SourceRatioSampler', source_ratio=[1, 4], by_orientation=True),
    dataset=dict(type='ImageSources', datasets=[labeled, unlabeled]),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='CocoDataset',
        data_root=data_root,
        ann_file='annotations/instances_val2017.json',
        data_prefix=dict(img='val2017/'),
        test_mode=True,
        pipeline=[dict(type='LoadImage'), *score],
    ),
)
# mmdet's DetInferencer replaces this transform with one that takes the given images.
test_dataset = dict(val_dataloader['dataset'], pipeline=[dict(type='LoadImageFromFile'), *score])
test_dataloader = dict(val_dataloader, dataset=test_dataset)

val_evaluator = dict(
    type='FastCocoMetric', ann_file=data_root + 'annotations/instances_val2017.json', metric='bbox'
)
test_evaluator = val_evaluator
