# mmdet's own semi-supervised pipelines and sampler, as shipped except for a single image size, so
# that steps can be compared.
_base_ = 'mmdet::_base_/datasets/semi_coco_detection.py'

resize = dict(type='Resize', scale=(1333, 800), keep_ratio=True)
weak = [resize, *_base_.weak_pipeline[1:]]
strong = [resize, *_base_.strong_pipeline[1:]]
labeled, unlabeled = _base_.labeled_dataset, _base_.unlabeled_dataset
labeled.pipeline[2] = resize
unlabeled.pipeline[2].update(unsup_teacher=weak, unsup_student=strong)

train_dataloader = dict(
    batch_size=5,
    sampler=dict(batch_size=5, source_ratio=[1, 4]),
    dataset=dict(datasets=[labeled, unlabeled]),
)
# mmdet's metric gives no scores if nothing is detected; otherwise its scores are the same.
val_evaluator = dict(type='FastCocoMetric')
test_evaluator = val_evaluator
