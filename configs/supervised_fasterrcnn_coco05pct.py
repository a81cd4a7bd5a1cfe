# The 10 % config with 5 % of COCO labelled.
_base_ = './supervised_fasterrcnn_coco10pct.py'

labeled = _base_.labeled
labeled.ann_file = 'annotations/semi_supervised/instances_train2017.1@5.json'
train_dataloader = dict(dataset=dict(datasets=[labeled]))
