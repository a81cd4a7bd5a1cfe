# RetinaNet R50-FPN with Consistent-Teacher's head, twice: the student and its teacher.
_base_ = 'mmdet::_base_/models/retinanet_r50_fpn.py'

head = dict(
    type='FAM3DHead',
    num_classes=80,
    in_channels=256,
    # One square anchor of 8 strides for each cell.
    anchor_generator=dict(
        type='AnchorGenerator', scales=[8], ratios=[1.0], strides=[8, 16, 32, 64, 128]
    ),
    bbox_coder=dict(
        type='DeltaXYWHBBoxCoder', target_means=[0.0] * 4, target_stds=[0.1, 0.1, 0.2, 0.2]
    ),
    loss_cls=dict(type='FocalLoss', use_sigmoid=True, gamma=2.0, alpha=0.25),
    loss_bbox=dict(type='GIoULoss', loss_weight=2.0),
)
detector = _base_.model
data_preprocessor = detector.pop('data_preprocessor')
detector.neck.add_extra_convs = 'on_output'
detector.bbox_head = head
detector.train_cfg = dict(assigner=dict(type='AdaptiveAssigner', iou_weight=2.0))
detector.test_cfg.nms.iou_threshold = 0.6

model = dict(
    _delete_=True,
    type='ConsistentTeacher',
    detector=detector,
    data_preprocessor=dict(type='TwoStreamPreprocessor', data_preprocessor=data_preprocessor),
    pseudo_weight=2.0,
)
