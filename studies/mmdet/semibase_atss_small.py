# For comparison: mmdet's own SemiBaseDetector with a dense detector and a threshold for sigmoids;
# the 0.9 of mmdet's docs keeps nothing.
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
# Boxes are float32 in mixed precision, like ours.
default_hooks = dict(places=dict(type='PrecisePlacesHook'))
