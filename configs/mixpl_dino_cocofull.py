# All of train2017 labelled, unlabeled2017 (123,403 images) unlabelled: 8 GPUs × (4 + 4), 180k.
_base_ = './mixpl_dino_coco10pct.py'

labeled = _base_.labeled
labeled.ann_file = 'annotations/instances_train2017.json'
unlabeled = _base_.unlabeled
unlabeled.ann_file = 'annotations/instances_unlabeled2017.json'
unlabeled.data_prefix = dict(img='unlabeled2017/')
train_dataloader = dict(
    batch_size=8,
    sampler=dict(source_ratio=[1, 1]),
    dataset=dict(datasets=[labeled, unlabeled]),
)
train_cfg = dict(max_iters=180000)
auto_scale_lr = dict(base_batch_size=64)
