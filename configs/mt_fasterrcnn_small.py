# Mean teacher on own photographs made 256 pixels large: MobileNetV2 from ImageNet, on two cores.
# Which class a region has, pretrained features of a larger image say, too.
_base_ = './mt_unverified_fasterrcnn_small.py'

model = dict(verifier=dict(scale=1.25))
