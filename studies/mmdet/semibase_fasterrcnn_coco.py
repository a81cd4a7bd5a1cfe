# For comparison at the size of COCO: mmdet's own SemiBaseDetector with the settings of its docs.
_base_ = './softteacher_fasterrcnn_coco.py'

_base_.pair.detector.backbone.norm_cfg.requires_grad = True
model = dict(_base_.semi_base, _delete_=True, **_base_.pair)
