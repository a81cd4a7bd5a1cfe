# All of train2017 labelled, unlabeled2017 (123,403 images) unlabelled: 8 GPUs × (4 + 4), 360k.
_base_ = './mt_fasterrcnn_coco10pct.py'

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

# 64 images per step instead of 40, and twice as many steps.
train_cfg = dict(max_iters=360000)
optim_wrapper = dict(optimizer=dict(lr=0.016))
param_scheduler = _base_.param_scheduler
param_scheduler[1].milestones = [240000, 320000]
auto_scale_lr = dict(base_batch_size=64)
