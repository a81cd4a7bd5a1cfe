# Mean teacher on own photographs of many classes: features that no training changed have a say in
# which class a region has, by a larger image.
_base_ = './mt_fasterrcnn_small.py'

model = dict(verifier=dict(scale=1.25))
