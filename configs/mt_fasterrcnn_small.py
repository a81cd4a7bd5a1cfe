# Mean teacher on your own photographs, resized to 256 pixels: ImageNet MobileNetV2, two cores.
# A frozen pretrained backbone, which sees a larger image, helps to decide each region's class.
_base_ = './mt_unverified_fasterrcnn_small.py'

model = dict(verifier=dict(scale=1.25))
