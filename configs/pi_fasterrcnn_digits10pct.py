# The Π-model on the built-in digits: the teacher is the student itself.
_base_ = './mt_fasterrcnn_digits10pct.py'

pi_model = dict(
    _delete_=True,
    type='PiTeacherHook',
    burn_in=500,
    selector=dict(type='ScoreSelector', threshold=0.65),
)
default_hooks = dict(teacher=pi_model)
