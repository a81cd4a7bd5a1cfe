# mmdet's own Soft Teacher, tuned like our mean teacher: as much jitter of the labelled images, λ,
# thresholds, and a decay (mmdet's has no schedule) between our two. Batch norms are frozen, so that
# buffers in the average would change nothing.
_base_ = './softteacher_fasterrcnn_small.py'

labeled = _base_.labeled_dataset
labeled.pipeline[2:3] = [
    dict(type='RandomResize', scale=(256, 256), ratio_range=(0.5, 1.75), keep_ratio=True),
    dict(type='RandomCrop', crop_size=(256, 256), allow_negative_crop=True),
]
train_dataloader = dict(dataset=dict(datasets=[labeled, _base_.unlabeled_dataset]))
custom_hooks = [dict(type='MeanTeacherHook', momentum=0.03)]
model = dict(
    semi_train_cfg=dict(
        rpn_pseudo_thr=0.7, cls_pseudo_thr=0.7, reg_pseudo_thr=0.05, unsup_weight=1.0
    )
)
