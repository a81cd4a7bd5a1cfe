# Temporal Ensembling, 10 % of COCO labelled: past predictions of each image are averaged.
_base_ = './mt_fasterrcnn_coco10pct.py'

temporal_ensembling = dict(
    _delete_=True,
    type='TemporalTeacherHook',
    burn_in=2000,
    selector=dict(type='ScoreSelector', threshold=0.7),
)
default_hooks = dict(teacher=temporal_ensembling)
