# A RetinaNet for small photographs that trains on two cores: MobileNetV2, strides 8-64.
_base_ = './mt_retinanet_r50_fpn.py'

model = dict(
    detector=dict(
        backbone=dict(
            _delete_=True,
            type='TorchvisionBackbone',
            arch='mobilenet_v2',
            weights='IMAGENET1K_V1',
            frozen_stride=4,
            norm_eval=True,
        ),
        neck=dict(in_channels=[32, 96, 1280], out_channels=128, start_level=0, num_outs=4),
        bbox_head=dict(
            in_channels=128,
            feat_channels=128,
            stacked_convs=2,
            anchor_generator=dict(strides=[8, 16, 32, 64]),
        ),
    ),
)
