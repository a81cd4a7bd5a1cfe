# Mean teacher with two heads, 10 % of COCO labelled: labels for one, consistency for the other.
_base_ = './mt_fasterrcnn_coco10pct.py'

model = dict(
    detector=dict(
        roi_head=dict(bbox_head=dict(type='TwoHeadBBoxHead', logit_distance=0.01)),
    ),
)
