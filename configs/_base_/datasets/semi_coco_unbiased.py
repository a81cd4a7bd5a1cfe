# COCO for Unbiased Teacher: views share their geometry, labelled images are seen as both views.
_base_ = './semi_coco_dense.py'

common = _base_.common
jitter = dict(type='PhotoMetricDistortion', swap_channels=False)
# Grey first: it converts to bytes, where colours brighter than white would wrap around.
strong = [
    dict(type='RandomGrayscale', prob=0.2, keep_channels=True),
    dict(type='RandomApply', transforms=[jitter], prob=0.8),
    dict(type='GaussianBlur', prob=0.5, sigma=(0.1, 2.0)),
    *_base_.patches,
]
labeled, unlabeled = _base_.labeled, _base_.unlabeled
view = dict(type='LabeledView', transforms=common)
labeled_weak = dict(labeled, pipeline=[*labeled.pipeline[:2], view])
view = dict(type='LabeledView', transforms=[*common, *strong])
labeled_strong = dict(labeled, pipeline=[*labeled.pipeline[:2], view])
unlabeled.pipeline[1].strong = strong
sources = [labeled_weak, labeled_strong, unlabeled]
train_dataloader = dict(
    batch_size=12, sampler=dict(source_ratio=[1, 1, 1]), dataset=dict(datasets=sources)
)
