# Soft Teacher, Faster R-CNN R50-FPN, 10 % of COCO labelled: 8 GPUs × (1 + 4) images, 180k.
_base_ = [
    './_base_/models/mt_faster-rcnn_r50_fpn.py',
    './_base_/datasets/semi_coco_geometry.py',
    './_base_/schedules/semi_180k.py',
    './_base_/runtime/mean_teacher.py',
]

model = dict(
    type='SoftTeacherDetector',
    detector=dict(backbone=dict(norm_cfg=dict(requires_grad=False))),
    score_threshold=0.9,
    uncertainty_threshold=0.02,
    box_jitter=dict(times=10, scale=0.06, min_score=0.5),
    pseudo_weight=4.0,
    consistency=None,
)
default_hooks = dict(teacher=dict(selector=dict(threshold=0.5)))
