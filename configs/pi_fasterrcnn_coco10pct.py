# The Π-model, 10 % of COCO labelled: the teacher is the student itself.
_base_ = './mt_fasterrcnn_coco10pct.py'

pi_model = dict(
    _delete_=True,
    type='PiTeacherHook',
    burn_in=2000,
    selector=dict(type='ScoreSelector', threshold=0.7),
)
default_hooks = dict(teacher=pi_model)
