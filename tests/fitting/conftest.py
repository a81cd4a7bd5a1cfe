"""A config with little in it, and labelled images of which every size is known."""

import numpy as np
import pytest
from mmengine.config import Config

from ssod.fitting.measures import Labels


def labels_of(sizes, boxes=()):
    """Labelled images of some sizes, all boxes in the first."""
    return Labels(
        len(sizes),
        np.array(sizes, np.float64).reshape(-1, 2),
        np.array(boxes, np.float64).reshape(-1, 2),
        np.zeros(len(boxes), np.int64),
    )


@pytest.fixture
def cfg():
    """As the configs for COCO: views of half to one and a half of what is scored, a third of a
    batch labelled, and something counted in iterations in every corner."""
    view = dict(type='RandomResize', scale=[(1333, 400), (1333, 1200)], keep_ratio=True)
    labeled = dict(
        type='CocoDataset',
        ann_file='a.json',
        pipeline=[dict(type='LabeledView', transforms=[view])],
    )
    unlabeled = dict(
        type='UnlabeledFolder', pipeline=[dict(type='TwoViews', weak=[view], strong=[view])]
    )
    scored = dict(dataset=dict(pipeline=[dict(type='Resize', scale=(1333, 800), keep_ratio=True)]))
    anchors = dict(type='AnchorGenerator', scales=[8], ratios=[0.5, 1, 2], strides=[4, 8])
    head = dict(num_classes=2)
    return Config(
        dict(
            model=dict(
                detector=dict(
                    rpn_head=dict(anchor_generator=anchors),
                    roi_head=dict(bbox_head=head),
                    backbone=dict(
                        init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet50')
                    ),
                ),
                pseudo_weight=dict(type='sigmoid', end=2.0, steps=400),
            ),
            train_dataloader=dict(
                batch_size=6,
                sampler=dict(source_ratio=[1, 2]),
                dataset=dict(datasets=[labeled, unlabeled]),
            ),
            val_dataloader=scored,
            test_dataloader=scored,
            train_cfg=dict(max_iters=1000, val_interval=100),
            optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.01)),
            param_scheduler=[
                dict(type='LinearLR', by_epoch=False, begin=0, end=50),
                dict(type='MultiStepLR', by_epoch=False, milestones=[700, 900]),
                dict(type='StepLR', step_size=2),
            ],
            auto_scale_lr=dict(enable=False, base_batch_size=12),
            default_hooks=dict(
                teacher=dict(
                    burn_in=200,
                    decay=dict(
                        type='warm_up',
                        decay=dict(type='stepwise', values=[0.9, 0.99, 0.999], milestones=[3, 400]),
                    ),
                ),
                checkpoint=dict(interval=250, by_epoch=False),
                logger=dict(interval=50),
            ),
        )
    )
