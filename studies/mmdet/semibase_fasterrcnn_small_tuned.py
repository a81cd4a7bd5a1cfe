# mmdet's own SemiBaseDetector, tuned like its Soft Teacher (softteacher_fasterrcnn_small_tuned.py).
_base_ = './softteacher_fasterrcnn_small_tuned.py'

_base_.semi_base.semi_train_cfg.cls_pseudo_thr = 0.7
model = dict(_base_.semi_base, _delete_=True, **_base_.pair)
