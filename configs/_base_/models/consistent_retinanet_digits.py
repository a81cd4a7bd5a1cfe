# Consistent-Teacher's detector for 96-pixel scenes: ResNet-18 of width 16, a narrow head.
_base_ = './consistent_retinanet_r50_fpn.py'

model = dict(
    detector=dict(
        backbone=dict(
            depth=18,
            base_channels=16,
            out_indices=(1, 2, 3),
            frozen_stages=-1,
            norm_eval=False,
            init_cfg=None,
        ),
        neck=dict(in_channels=[32, 64, 128], out_channels=64, start_level=0, num_outs=3),
        bbox_head=dict(
            num_classes=10,
            in_channels=64,
            feat_channels=64,
            stacked_convs=2,
            anchor_generator=dict(scales=[2.5], strides=[8, 16, 32]),
        ),
        test_cfg=dict(nms_pre=200, max_per_img=20),
    )
)
