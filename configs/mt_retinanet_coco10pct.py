# A dense detector, RetinaNet R50-FPN, 10 % of COCO labelled: 8 GPUs × (1 + 4) images, 180k.
_base_ = [
    './_base_/models/mt_retinanet_r50_fpn.py',
    './_base_/datasets/semi_coco.py',
    './_base_/schedules/semi_180k.py',
    './_base_/runtime/mean_teacher.py',
]

# Sigmoid scores are lower than softmax scores.
selector = dict(type='ScoreSelector', threshold=0.4)
two_phases = dict(_delete_=True, type='stepwise', values=[0.99, 0.999], milestones=[4000])
default_hooks = dict(teacher=dict(burn_in=2000, decay=dict(decay=two_phases), selector=selector))
# Half of Faster R-CNN's, as in mmdet.
optim_wrapper = dict(optimizer=dict(lr=0.005))
