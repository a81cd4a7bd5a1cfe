# STAC, Faster R-CNN R50-FPN, 10 % of COCO labelled: 8 GPUs × (1 + 1) images, 180k.
_base_ = [
    './_base_/models/mt_faster-rcnn_r50_fpn.py',
    './_base_/datasets/semi_coco_geometry.py',
    './_base_/schedules/semi_180k.py',
    './_base_/runtime/mean_teacher.py',
]

offline = dict(
    _delete_=True, type='OfflineTeacherHook', selector=dict(type='ScoreSelector', threshold=0.9)
)
default_hooks = dict(teacher=offline)
model = dict(pseudo_weight=2.0, consistency=None)
train_dataloader = dict(batch_size=2, sampler=dict(source_ratio=[1, 1]))
auto_scale_lr = dict(base_batch_size=16)
