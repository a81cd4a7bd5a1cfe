# All of train2017 labelled, unlabeled2017 (123,403 images) unlabelled: 8 GPUs × (1 + 1), 540k.
_base_ = './stac_fasterrcnn_coco10pct.py'

labeled, unlabeled = _base_.labeled, _base_.unlabeled
labeled.ann_file = 'annotations/instances_train2017.json'
unlabeled.ann_file = 'annotations/instances_unlabeled2017.json'
unlabeled.data_prefix = dict(img='unlabeled2017/')
train_dataloader = dict(dataset=dict(datasets=[labeled, unlabeled]))
train_cfg = dict(max_iters=540000)
param_scheduler = _base_.param_scheduler
param_scheduler[1].milestones = [360000, 480000]
