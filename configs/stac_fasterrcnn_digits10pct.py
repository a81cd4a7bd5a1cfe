# STAC on the built-in digits; see tools/pseudo_label.py for the labels.
_base_ = './mt_fasterrcnn_digits10pct.py'

offline = dict(
    _delete_=True, type='OfflineTeacherHook', selector=dict(type='ScoreSelector', threshold=0.7)
)
default_hooks = dict(teacher=offline)
