# A Faster R-CNN for small photographs that trains on two cores: MobileNetV2, strides 8-64.
# Boxes are regressed for all classes together, for which a few labelled images are enough.
_base_ = './mt_faster-rcnn_r50_fpn.py'

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
        neck=dict(in_channels=[32, 96, 1280], out_channels=128, num_outs=4),
        rpn_head=dict(
            in_channels=128,
            feat_channels=128,
            anchor_generator=dict(scales=[4], strides=[8, 16, 32, 64]),
        ),
        roi_head=dict(
            bbox_roi_extractor=dict(out_channels=128, featmap_strides=[8, 16, 32]),
            bbox_head=dict(in_channels=128, fc_out_channels=256, reg_class_agnostic=True),
        ),
        train_cfg=dict(
            rpn_proposal=dict(nms_pre=500, max_per_img=250),
            rcnn=dict(sampler=dict(num=64)),
        ),
        test_cfg=dict(rpn=dict(nms_pre=500, max_per_img=100)),
    ),
)
