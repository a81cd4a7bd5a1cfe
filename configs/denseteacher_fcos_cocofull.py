# All of train2017 labelled, unlabeled2017 (123,403 images) unlabelled: 8 GPUs × (4 + 2), 540k.
_base_ = './denseteacher_fcos_coco10pct.py'

labeled = _base_.labeled
labeled.ann_file = 'annotations/instances_train2017.json'
unlabeled = _base_.unlabeled
unlabeled.ann_file = 'annotations/instances_unlabeled2017.json'
unlabeled.data_prefix = dict(img='unlabeled2017/')
train_dataloader = dict(dataset=dict(datasets=[labeled, unlabeled]))

model = dict(class_weight=2.0, pseudo_weight=dict(steps=20000))
default_hooks = dict(teacher=dict(burn_in=20000))
train_cfg = dict(max_iters=540000)
