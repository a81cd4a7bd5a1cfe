# The 10 % config with a torchvision backbone: MobileNetV2.
_base_ = './mt_fasterrcnn_coco10pct.py'

model = dict(
    detector=dict(
        backbone=dict(
            _delete_=True,
            type='TorchvisionBackbone',
            arch='mobilenet_v2',
            weights='IMAGENET1K_V1',
            out_strides=(4, 8, 16, 32),
            frozen_stride=2,
            norm_eval=True,
        ),
        # TorchvisionBackbone(...).out_channels
        neck=dict(in_channels=[24, 32, 96, 1280]),
    )
)
