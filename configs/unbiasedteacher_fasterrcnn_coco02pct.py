# The 10 % config with 2 % of COCO labelled.
_base_ = './unbiasedteacher_fasterrcnn_coco10pct.py'

split = 'annotations/semi_supervised/instances_train2017.1@2'
sources = _base_.train_dataloader.dataset.datasets
sources[0].ann_file = sources[1].ann_file = split + '.json'
sources[2].ann_file = split + '-unlabeled.json'
train_dataloader = dict(dataset=dict(datasets=sources))
