# Temporal Ensembling, the built-in digits: past predictions of each image are averaged.
_base_ = './mt_fasterrcnn_digits10pct.py'

temporal_ensembling = dict(
    _delete_=True,
    type='TemporalTeacherHook',
    burn_in=500,
    selector=dict(type='ScoreSelector', threshold=0.65),
)
default_hooks = dict(teacher=temporal_ensembling)
