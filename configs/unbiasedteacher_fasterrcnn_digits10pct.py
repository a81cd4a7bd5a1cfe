# Unbiased Teacher on the built-in digits.
_base_ = './mt_fasterrcnn_digits10pct.py'

focal = dict(_delete_=True, type='SoftmaxFocalLoss', gamma=1.5)
model = dict(
    detector=dict(roi_head=dict(bbox_head=dict(loss_cls=focal))),
    pseudo_weight=2.0,
    pseudo_factors=dict(loss_rpn_bbox=0.0, loss_bbox=0.0),
)
# The paper's 0.9996 is for 180,000 iterations.
default_hooks = dict(teacher=dict(selector=dict(threshold=0.7)))
