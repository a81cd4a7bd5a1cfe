# MixPL, Faster R-CNN R50-FPN, 10 % of COCO labelled: 8 GPUs × (1 + 4) images, 180k.
_base_ = [
    './_base_/models/mt_faster-rcnn_r50_fpn.py',
    './_base_/datasets/semi_coco_mixpl.py',
    './_base_/schedules/semi_180k.py',
    './_base_/runtime/mixpl.py',
]

_base_.model.detector.backbone.norm_cfg.requires_grad = False
twice = dict(detector=_base_.model.detector, data_preprocessor=_base_.model.data_preprocessor)
model = dict(twice, _delete_=True, type='MixPL', pseudo_weight=2.0)
default_hooks = dict(teacher=dict(selector=dict(threshold=0.7)))
optim_wrapper = dict(clip_grad=dict(max_norm=20))
param_scheduler = [dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=500)]
