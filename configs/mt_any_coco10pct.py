# For tools/train.py --detector: a mean teacher from any mmdet config, 10 % of COCO labelled.
_base_ = './mt_fasterrcnn_coco10pct.py'

# The consistency loss supports only some heads; for these, make a config with this _base_ and
# model=dict(consistency=dict(weight=1.0)).
model = dict(consistency=None)
