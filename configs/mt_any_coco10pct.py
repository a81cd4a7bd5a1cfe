# For tools/train.py --detector: a mean teacher of any mmdet config, 10 % of COCO labelled.
_base_ = './mt_fasterrcnn_coco10pct.py'

# The consistency loss knows some heads only: --cfg-options model.consistency.weight=1.0
model = dict(consistency=None)
