# mmdet's own semi-supervised pipelines and sampler, as shipped except for the image size and
# without flips: a mirrored digit is not a digit.
_base_ = 'mmdet::_base_/datasets/semi_coco_detection.py'

resize = dict(type='RandomResize', scale=(96, 96), ratio_range=(0.8, 1.25), keep_ratio=True)
labeled, unlabeled = _base_.labeled_dataset, _base_.unlabeled_dataset
labeled.pipeline[2:4] = [resize]
unlabeled.pipeline[2].update(
    unsup_teacher=[resize, *_base_.weak_pipeline[2:]],
    unsup_student=[resize, *_base_.strong_pipeline[2:]],
)
test_pipeline = _base_.test_pipeline
test_pipeline[1].scale = (96, 96)

train_dataloader = dict(
    batch_size=16,
    num_workers=1,
    sampler=dict(batch_size=16, source_ratio=[4, 12]),
    dataset=dict(datasets=[labeled, unlabeled]),
)
val_dataloader = dict(batch_size=25, num_workers=1, dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
# mmdet's metric gives no scores if nothing is detected; otherwise its scores are the same.
val_evaluator = dict(type='FastCocoMetric')
test_evaluator = val_evaluator
