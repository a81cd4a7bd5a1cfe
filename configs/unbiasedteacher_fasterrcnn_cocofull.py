# All of train2017 labelled, unlabeled2017 (123,403 images) unlabelled: 8 × (4 + 4 + 4), 360k.
_base_ = './unbiasedteacher_fasterrcnn_coco10pct.py'

sources = _base_.train_dataloader.dataset.datasets
sources[0].ann_file = sources[1].ann_file = 'annotations/instances_train2017.json'
sources[2].ann_file = 'annotations/instances_unlabeled2017.json'
sources[2].data_prefix = dict(img='unlabeled2017/')
train_dataloader = dict(dataset=dict(datasets=sources))
train_cfg = dict(max_iters=360000)
model = dict(pseudo_weight=2.0)
default_hooks = dict(teacher=dict(burn_in=90000))
