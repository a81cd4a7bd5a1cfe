# For tools/train.py --detector: a mean teacher of any mmdet config, 10 % of COCO labelled.
_base_ = './mt_fasterrcnn_coco10pct.py'

# The consistency loss knows some heads only; for these: model=dict(consistency=dict(weight=1.0)),
# in a config of your own that has this one as its _base_.
model = dict(consistency=None)
