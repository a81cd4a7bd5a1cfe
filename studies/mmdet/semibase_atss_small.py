# To compare with: mmdet's own SemiBaseDetector of a dense detector, with a threshold for sigmoids:
# that of mmdet's docs, 0.9, keeps nothing.
_base_ = [
    '../../configs/_base_/models/mt_atss_mobilenetv2_small.py',
    './_base_/small.py',
    '../../configs/_base_/schedules/small.py',
    './_base_/runtime.py',
    './_base_/methods.py',
]

branches = dict(
    type='MultiBranchDataPreprocessor',
    data_preprocessor=_base_.model.data_preprocessor.data_preprocessor,
)
pair = dict(detector=_base_.model.detector, data_preprocessor=branches)
semi_base = _base_.semi_base
semi_base.semi_train_cfg.cls_pseudo_thr = 0.4
model = dict(semi_base, _delete_=True, **pair)
# Boxes are float32 at mixed precision, as ours are.
default_hooks = dict(places=dict(type='PrecisePlacesHook'))
