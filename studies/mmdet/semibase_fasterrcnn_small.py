# To compare with: mmdet's own SemiBaseDetector, with the settings that its docs give.
_base_ = './softteacher_fasterrcnn_small.py'

model = dict(_base_.semi_base, _delete_=True, **_base_.pair)
