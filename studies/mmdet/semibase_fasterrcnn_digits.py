# To compare with on the digits: mmdet's own SemiBaseDetector, with the settings that its docs give.
_base_ = './softteacher_fasterrcnn_digits.py'

model = dict(_base_.semi_base, _delete_=True, **_base_.pair)
