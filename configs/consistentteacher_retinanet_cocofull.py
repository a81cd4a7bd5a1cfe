# All of train2017 labelled, unlabeled2017 (123,403 images) unlabelled: 8 GPUs × (1 + 4), 720k.
_base_ = './consistentteacher_retinanet_coco10pct.py'

labeled = _base_.labeled
labeled.ann_file = 'annotations/instances_train2017.json'
unlabeled = _base_.unlabeled
unlabeled.ann_file = 'annotations/instances_unlabeled2017.json'
unlabeled.data_prefix = dict(img='unlabeled2017/')
train_dataloader = dict(dataset=dict(datasets=[labeled, unlabeled]))

# With this many labels, boxes count more in the assignment and the teacher follows more slowly.
detector = dict(
    backbone=dict(norm_cfg=dict(requires_grad=False)),
    train_cfg=dict(assigner=dict(iou_weight=3.0)),
)
model = dict(detector=detector)
default_hooks = dict(teacher=dict(decay=dict(decay=0.9998)))

train_cfg = dict(max_iters=720000)
decays = dict(type='MultiStepLR', by_epoch=False, milestones=[480000, 640000], gamma=0.1)
param_scheduler = [*_base_.param_scheduler, decays]
