# Soft Teacher on small photographs.
_base_ = './mt_fasterrcnn_small.py'

model = dict(
    type='SoftTeacherDetector',
    score_threshold=0.7,
    uncertainty_threshold=0.05,
    box_jitter=dict(min_score=0.5),
)
default_hooks = dict(teacher=dict(selector=dict(threshold=0.5)))
