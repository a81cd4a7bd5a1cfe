# All of train2017 labelled, unlabeled2017 (123,403 images) unlabelled: 8 GPUs × (4 + 4), 720k.
_base_ = './softteacher_fasterrcnn_coco10pct.py'

labeled, unlabeled = _base_.labeled, _base_.unlabeled
labeled.ann_file = 'annotations/instances_train2017.json'
unlabeled.ann_file = 'annotations/instances_unlabeled2017.json'
unlabeled.data_prefix = dict(img='unlabeled2017/')
train_dataloader = dict(
    batch_size=8,
    sampler=dict(source_ratio=[1, 1]),
    dataset=dict(datasets=[labeled, unlabeled]),
)
model = dict(pseudo_weight=2.0)
train_cfg = dict(max_iters=720000)
param_scheduler = _base_.param_scheduler
param_scheduler[1].milestones = [480000, 640000]
auto_scale_lr = dict(base_batch_size=64)
