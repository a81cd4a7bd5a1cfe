# The 10 % config with 1 % of COCO labelled: 8 GPUs × (2 + 1) images.
_base_ = './denseteacher_fcos_coco10pct.py'

split = 'annotations/semi_supervised/instances_train2017.1@1'
labeled = _base_.labeled
labeled.ann_file = split + '.json'
unlabeled = _base_.unlabeled
unlabeled.ann_file = split + '-unlabeled.json'
train_dataloader = dict(batch_size=3, dataset=dict(datasets=[labeled, unlabeled]))
auto_scale_lr = dict(base_batch_size=24)

model = dict(class_weight=3.0)
