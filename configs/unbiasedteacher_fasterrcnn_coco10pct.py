# Unbiased Teacher, Faster R-CNN R50-FPN, 10 % of COCO labelled: 8 GPUs × (4 + 4 + 4) images, 180k.
_base_ = [
    './_base_/models/mt_faster-rcnn_r50_fpn.py',
    './_base_/datasets/semi_coco_unbiased.py',
    './_base_/schedules/semi_180k.py',
    './_base_/runtime/mean_teacher.py',
]

focal = dict(_delete_=True, type='SoftmaxFocalLoss', gamma=1.5)
model = dict(
    detector=dict(
        backbone=dict(norm_cfg=dict(requires_grad=False)),
        roi_head=dict(bbox_head=dict(loss_cls=focal)),
        train_cfg=dict(rpn=dict(sampler=dict(pos_fraction=0.25))),
    ),
    pseudo_weight=4.0,
    pseudo_factors=dict(loss_rpn_bbox=0.0, loss_bbox=0.0),
    consistency=None,
)
slow = dict(_delete_=True, type='constant', value=0.9996)
default_hooks = dict(teacher=dict(burn_in=2000, decay=slow, selector=dict(threshold=0.7)))
# 64 draws of labelled images per step; the learning rate stays constant.
param_scheduler = [dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=1000)]
auto_scale_lr = dict(base_batch_size=96)
