# The 10 % config with 2 % of COCO labelled.
_base_ = './stac_fasterrcnn_coco10pct.py'

split = 'annotations/semi_supervised/instances_train2017.1@2'
labeled = _base_.labeled
labeled.ann_file = split + '.json'
unlabeled = _base_.unlabeled
unlabeled.ann_file = split + '-unlabeled.json'
train_dataloader = dict(dataset=dict(datasets=[labeled, unlabeled]))
