# COCO for dense pseudo-labels: views share resize and flip; only the strong one changes colours.
_base_ = './semi_coco.py'

sizes = [(1333, 640), (1333, 672), (1333, 704), (1333, 736), (1333, 768), (1333, 800)]
common = [
    dict(type='RandomChoiceResize', scales=sizes, keep_ratio=True),
    dict(type='RandomFlip', prob=0.5),
]
# Jitter of brightness, contrast and saturation, grey, blur, and patches.
strong = [
    dict(type='Brightness', prob=0.8, min_mag=0.6, max_mag=1.4),
    dict(type='Contrast', prob=0.8, min_mag=0.6, max_mag=1.4),
    dict(type='Color', prob=0.8, min_mag=0.6, max_mag=1.4),
    dict(type='Color', prob=0.2, min_mag=0.0, max_mag=0.0),
    dict(type='Sharpness', prob=0.5, min_mag=0.0, max_mag=1.0),
    dict(type='RandomErasing', n_patches=(0, 3), ratio=(0.1, 0.4), img_border_value=114),
]

labeled = _base_.labeled
# Labelled images are seen both weakly and strongly, too.
labeled.pipeline[2].transforms = [*common, dict(type='RandomApply', transforms=strong, prob=0.5)]
unlabeled = _base_.unlabeled
unlabeled.pipeline[1] = dict(type='TwoViews', common=common, weak=[], strong=strong)
train_dataloader = dict(
    batch_size=6,
    sampler=dict(source_ratio=[2, 1]),
    dataset=dict(datasets=[labeled, unlabeled]),
)
