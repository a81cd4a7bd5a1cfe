# For comparison: mmdet's own SemiBaseDetector with the settings of its docs.
_base_ = './softteacher_fasterrcnn_small.py'

model = dict(_base_.semi_base, _delete_=True, **_base_.pair)
