# For tools/train.py --detector: a mean teacher from any mmdet config on the built-in digits.
_base_ = './mt_fasterrcnn_digits10pct.py'

# Half of the base config's, because the detectors are larger.
train_dataloader = dict(batch_size=8)
auto_scale_lr = dict(base_batch_size=8)
