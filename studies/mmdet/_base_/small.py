# mmdet's own semi-supervised pipelines and sampler, as shipped except for the image size.
_base_ = 'mmdet::_base_/datasets/semi_coco_detection.py'

resize = dict(type='RandomResize', scale=(256, 256), ratio_range=(0.8, 1.2), keep_ratio=True)
weak = [resize, *_base_.weak_pipeline[1:]]
strong = [resize, *_base_.strong_pipeline[1:]]
labeled, unlabeled = _base_.labeled_dataset, _base_.unlabeled_dataset
labeled.pipeline[2] = resize
unlabeled.pipeline[2].update(unsup_teacher=weak, unsup_student=strong)
test_pipeline = _base_.test_pipeline
test_pipeline[1].scale = (256, 256)

train_dataloader = dict(
    batch_size=6,
    num_workers=1,
    sampler=dict(batch_size=6, source_ratio=[2, 4]),
    dataset=dict(datasets=[labeled, unlabeled]),
)
val_dataloader = dict(batch_size=8, num_workers=1, dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
# mmdet's metric gives no scores if nothing is detected; otherwise its scores are the same.
val_evaluator = dict(type='FastCocoMetric')
test_evaluator = val_evaluator
