# COCO for dense pseudo-labels: views share resize and flip; only the strong one changes colours.
_base_ = './semi_coco.py'

sizes = [(1333, 640), (1333, 672), (1333, 704), (1333, 736), (1333, 768), (1333, 800)]
common = [
    dict(type='RandomChoiceResize', scales=sizes, keep_ratio=True),
    dict(type='RandomFlip', prob=0.5),
]
factors = [dict(type=t, min_mag=0.6, max_mag=1.4) for t in ('Brightness', 'Contrast', 'Color')]
small = dict(type='RandomErasing', n_patches=1, ratio=(0.14, 0.45), squared=False)
large = dict(small, ratio=(0.22, 0.45))
patches = [
    dict(type='RandomApply', transforms=[patch], prob=prob)
    for patch, prob in ((large, 0.7), (small, 0.5), (small, 0.3))
]
strong = [
    dict(type='RandomApply', transforms=factors, prob=0.8),
    dict(type='Color', prob=0.2, min_mag=0.0, max_mag=0.0),
    dict(type='GaussianBlur', prob=0.5, sigma=(0.1, 2.0)),
    *patches,
]

labeled = _base_.labeled
# Labelled images are seen both weakly and strongly, too.
labeled.pipeline[2].transforms = [*common, dict(type='RandomApply', transforms=strong, prob=0.5)]
unlabeled = _base_.unlabeled
unlabeled.pipeline[1] = dict(type='TwoViews', common=common, weak=[], strong=strong)
sources = dict(datasets=[labeled, unlabeled])
train_dataloader = dict(batch_size=6, sampler=dict(source_ratio=[2, 1]), dataset=sources)
