# MixPL's hooks: pseudo-mixup and pseudo-mosaic, and its teacher.
_base_ = './mean_teacher.py'

default_hooks = dict(
    # The released code moves the teacher every third step by max(0.0002, 4 / (4 + step)); this is
    # equivalent for a teacher that moves every step.
    teacher=dict(decay=dict(decay=1 - 0.0002 / 3, gamma=4 / 3)),
    mixpl=dict(type='MixPLHook', mosaic_sides=(400, 800)),
)
