"""Detectors so small that they are traced in seconds, with weights that find something."""

from pathlib import Path

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config, ConfigDict
from mmengine.model import BaseModule
from mmengine.registry import init_default_scope
from torch import nn

from ssod.plain_detector import detector_cfg

CONFIGS = Path(__file__).parents[2] / 'configs'
CLASSES = ('cat', 'dog', 'emu')
HEADS = ('fc_cls', 'fc_reg', 'rpn_cls', 'rpn_reg', 'conv_cls', 'conv_reg', 'retina_cls', 'atss_cls')


@MODELS.register_module(force=True)
class PatchBackbone(BaseModule):
    """Maps of strides 8 and 16, each of one convolution."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 8, 8, 8), nn.Conv2d(8, 8, 2, 2)

    def forward(self, x):
        first = self.first(x).relu()
        return first, self.second(first).relu()


def shrink(cfg):
    """A digits config's detector with this backbone, two levels and three classes."""
    detector = cfg.model.detector
    detector.backbone = ConfigDict(type='PatchBackbone')
    detector.neck.update(in_channels=[8, 8], out_channels=8, num_outs=2)
    dense = detector.get('rpn_head') or detector.bbox_head
    dense.update(in_channels=8, feat_channels=32)
    if 'rpn_head' in detector:
        dense.anchor_generator.strides = [8, 16]
        extractor = detector.roi_head.bbox_roi_extractor
        extractor.update(out_channels=8, featmap_strides=[8, 16], finest_scale=20)
        detector.roi_head.bbox_head.update(in_channels=8, fc_out_channels=16, num_classes=3)
        # In an image of 16 x 16 there is no region at all.
        detector.test_cfg.rpn.update(nms_pre=60, max_per_img=30, min_bbox_size=16)
        detector.test_cfg.rcnn.update(score_thr=0.1, max_per_img=10)
    else:
        # Without norms, which would make as much of an empty image as of a full one.
        dense.update(num_classes=3, stacked_convs=1, norm_cfg=None)
        if 'strides' in dense:
            dense.update(strides=[8, 16], regress_ranges=((-1, 24), (24, 1e8)))
        else:
            dense.anchor_generator.strides = [8, 16]
        detector.test_cfg.update(score_thr=0.3, nms_pre=60, max_per_img=10)
    return cfg


@pytest.fixture(scope='session')
def small():
    """Configs by their names, shrunk, with the names of three classes."""

    def load(name):
        cfg = Config.fromfile(CONFIGS / f'{name}.py')
        for part in ('val', 'test'):
            data = cfg[f'{part}_dataloader'].dataset
            data.type, data.metainfo = 'CocoDataset', dict(classes=CLASSES)
            data.pop('scenes', None)
        return shrink(cfg)

    return load


@pytest.fixture(scope='session')
def built():
    """A config's detector in eval mode, with weights that find something."""

    def build(cfg):
        init_default_scope('mmdet')
        torch.manual_seed(0)
        detector = MODELS.build(detector_cfg(cfg)).eval()
        for name, module in detector.named_modules():
            if name.endswith(HEADS):
                nn.init.normal_(module.weight, std=0.3)
                nn.init.constant_(module.bias, -2.0 if name.endswith('cls') else 0.0)
        return detector

    return build
