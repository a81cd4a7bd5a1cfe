# An ATSS for small photographs that trains on two cores: MobileNetV2, strides 8-64.
_base_ = './mt_retinanet_r50_fpn.py'

head = dict(
    type='ATSSHead',
    num_classes=80,
    in_channels=128,
    stacked_convs=2,
    feat_channels=128,
    anchor_generator=dict(
        type='AnchorGenerator',
        ratios=[1.0],
        octave_base_scale=4,
        scales_per_octave=1,
        strides=[8, 16, 32, 64],
    ),
    bbox_coder=dict(type='DeltaXYWHBBoxCoder', target_stds=[0.1, 0.1, 0.2, 0.2]),
    loss_cls=dict(type='FocalLoss', use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=1.0),
    loss_bbox=dict(type='GIoULoss', loss_weight=2.0),
    loss_centerness=dict(type='CrossEntropyLoss', use_sigmoid=True, loss_weight=1.0),
)
model = dict(
    detector=dict(
        type='ATSS',
        backbone=dict(
            _delete_=True,
            type='TorchvisionBackbone',
            arch='mobilenet_v2',
            weights='IMAGENET1K_V1',
            frozen_stride=4,
            norm_eval=True,
        ),
        neck=dict(in_channels=[32, 96, 1280], out_channels=128, start_level=0, num_outs=4),
        bbox_head=dict(head, _delete_=True),
        train_cfg=dict(
            _delete_=True,
            assigner=dict(type='ATSSAssigner', topk=9),
            allowed_border=-1,
            pos_weight=-1,
        ),
        test_cfg=dict(nms=dict(iou_threshold=0.6)),
    ),
)
