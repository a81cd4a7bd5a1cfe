# An FCOS for 96-pixel scenes that trains on two cores: ResNet-18 of width 16, strides 8-32.
_base_ = './mt_fcos_r50_fpn.py'

rgb = dict(
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
    bgr_to_rgb=True,
)
model = dict(
    detector=dict(
        data_preprocessor=rgb,
        backbone=dict(
            depth=18,
            base_channels=16,
            out_indices=(1, 2, 3),
            frozen_stages=-1,
            norm_cfg=dict(requires_grad=True),
            norm_eval=False,
            style='pytorch',
            init_cfg=None,
        ),
        neck=dict(in_channels=[32, 64, 128], out_channels=64, start_level=0, num_outs=3),
        bbox_head=dict(
            num_classes=10,
            in_channels=64,
            stacked_convs=2,
            feat_channels=64,
            strides=[8, 16, 32],
            regress_ranges=((-1, 24), (24, 48), (48, 1e8)),
        ),
        test_cfg=dict(nms_pre=200, max_per_img=20),
    ),
    data_preprocessor=dict(data_preprocessor=rgb),
)
