# Consistent-Teacher, RetinaNet R50-FPN, 10 % of COCO labelled: 8 GPUs × (1 + 4) images, 180k.
_base_ = [
    './_base_/models/consistent_retinanet_r50_fpn.py',
    './_base_/datasets/semi_coco_geometry.py',
    './_base_/schedules/semi_180k.py',
    './_base_/runtime/mean_teacher.py',
]

mixture = dict(type='PeakMixtureSelector', num_classes=80, length=100, default=0.0, least=4)
selector = dict(
    _delete_=True,
    type='SelectorChain',
    selectors=[dict(type='ExpectedCountSelector'), mixture],
)
default_hooks = dict(
    teacher=dict(burn_in=10000, decay=dict(decay=0.9995), selector=selector),
)
optim_wrapper = dict(clip_grad=dict(max_norm=20))
# The learning rate stays constant after the warm-up.
param_scheduler = _base_.param_scheduler[:1]
