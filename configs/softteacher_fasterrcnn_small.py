# Soft Teacher on small photographs.
_base_ = './mt_unverified_fasterrcnn_small.py'

twice = dict(detector=_base_.model.detector, data_preprocessor=_base_.model.data_preprocessor)
model = dict(
    twice,
    _delete_=True,
    type='SoftTeacherDetector',
    score_threshold=0.7,
    uncertainty_threshold=0.05,
    box_jitter=dict(min_score=0.5),
    pseudo_weight=_base_.model.pseudo_weight,
)
default_hooks = dict(teacher=dict(selector=dict(threshold=0.5)))
