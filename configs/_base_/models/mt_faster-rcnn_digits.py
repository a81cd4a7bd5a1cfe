# A Faster R-CNN for 96-pixel scenes that trains on two cores: ResNet-18 of width 16, strides 8-32.
_base_ = './mt_faster-rcnn_r50_fpn.py'

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
        neck=dict(in_channels=[32, 64, 128], out_channels=64, num_outs=3),
        rpn_head=dict(
            in_channels=64,
            feat_channels=64,
            anchor_generator=dict(scales=[2.5], ratios=[1.0, 1.6], strides=[8, 16, 32]),
        ),
        roi_head=dict(
            bbox_roi_extractor=dict(out_channels=64, featmap_strides=[8, 16, 32]),
            bbox_head=dict(in_channels=64, fc_out_channels=256, num_classes=10),
        ),
        train_cfg=dict(
            rpn=dict(sampler=dict(num=64)),
            rpn_proposal=dict(nms_pre=200, max_per_img=100),
            rcnn=dict(sampler=dict(num=64)),
        ),
        test_cfg=dict(rpn=dict(nms_pre=200, max_per_img=100), rcnn=dict(max_per_img=20)),
    ),
    pseudo_weight=1.0,
    consistency=None,
)
