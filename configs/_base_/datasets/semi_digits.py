# The built-in scenes of handwritten digits, generated on first use. No flips: a mirrored digit is
# not a digit.
data_root = 'data/digits/'
load = dict(type='LoadImage')

labeled = dict(
    type='DigitsDataset',
    data_root=data_root,
    ann_file='annotations/labeled.json',
    data_prefix=dict(img='images/train/'),
    filter_cfg=dict(filter_empty_gt=False),
    pipeline=[
        load,
        dict(type='LoadAnnotations', with_bbox=True),
        dict(
            type='LabeledView',
            transforms=[
                dict(type='RandomResize', scale=(96, 96), ratio_range=(0.8, 1.25)),
                dict(type='PhotoMetricDistortion'),
            ],
        ),
    ],
)
unlabeled = dict(
    type='DigitsDataset',
    data_root=data_root,
    ann_file='annotations/unlabeled.json',
    data_prefix=dict(img='images/train/'),
    filter_cfg=dict(filter_empty_gt=False),
    pipeline=[
        load,
        dict(
            type='TwoViews',
            weak=[],
            strong=[
                dict(type='RandomResize', scale=(96, 96), ratio_range=(0.6, 1.5)),
                dict(type='Rotate', prob=0.8, max_mag=30.0),
                dict(type='ShearX', prob=0.7, max_mag=20.0),
                dict(type='ShearY', prob=0.7, max_mag=15.0),
                dict(type='TranslateX', prob=0.5, max_mag=0.15),
                dict(type='TranslateY', prob=0.5, max_mag=0.15),
                dict(type='PhotoMetricDistortion'),
                dict(type='RandomErasing', n_patches=(1, 4), ratio=(0, 0.2)),
            ],
        ),
    ],
)

score = [
    dict(type='Resize', scale=(96, 96), keep_ratio=True),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='PackDetInputs'),
]

train_dataloader = dict(
    batch_size=16,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='SourceRatioSampler', source_ratio=[1, 3]),
    dataset=dict(type='ImageSources', datasets=[labeled, unlabeled]),
)
val_dataloader = dict(
    batch_size=25,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='DigitsDataset',
        data_root=data_root,
        ann_file='annotations/val.json',
        data_prefix=dict(img='images/val/'),
        test_mode=True,
        pipeline=[load, *score],
    ),
)
# mmdet's DetInferencer replaces this transform with one that takes the given images.
test_dataset = dict(val_dataloader['dataset'], pipeline=[dict(type='LoadImageFromFile'), *score])
test_dataloader = dict(val_dataloader, dataset=test_dataset)

val_evaluator = dict(
    type='FastCocoMetric', ann_file=data_root + 'annotations/val.json', metric='bbox'
)
test_evaluator = val_evaluator
