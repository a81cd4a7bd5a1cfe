# Mean teacher on own photographs made 256 pixels large: MobileNetV2 from ImageNet, on two cores.
# A frozen pretrained backbone, which sees a larger image, has a say in the class of each region.
_base_ = './mt_unverified_fasterrcnn_small.py'

model = dict(verifier=dict(scale=1.25))
