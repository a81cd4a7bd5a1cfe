# Mean teacher with two heads on the built-in digits: labels for one, consistency for the other.
_base_ = './mt_fasterrcnn_digits10pct.py'

model = dict(
    detector=dict(
        roi_head=dict(bbox_head=dict(type='TwoHeadBBoxHead', logit_distance=0.01)),
    ),
    consistency=dict(_delete_=True, weight=dict(type='sigmoid', end=1.0, steps=400)),
)
