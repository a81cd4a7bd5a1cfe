"""A network of torchvision's as a backbone, a small model of the digits, and images for them."""

import numpy as np
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.structures import InstanceData
from torch import Tensor

from ssod.data.branches import pop_branch, put_branch
from ssod.models.torchvision_backbone import TorchvisionBackbone
from ssod.teachers import EMATeacherHook

FLIP = np.array([[-1, 0, 64], [0, 1, 0], [0, 0, 1]], dtype=np.float32)


def resnet(**settings: object) -> TorchvisionBackbone:
    return TorchvisionBackbone('resnet18', **settings)


def images(seed: int = 0, batch: int = 2) -> Tensor:
    return torch.rand(batch, 3, 64, 96, generator=torch.Generator().manual_seed(seed))


def digits_model(**changes):
    """The small detector of the digits example, its batch norms frozen."""
    model = Config.fromfile('configs/mt_fasterrcnn_digits10pct.py').model
    model.detector.backbone.norm_eval = True
    model.detector.test_cfg.rcnn.score_thr = 0.05
    for name, value in changes.items():
        model[name] = value
    return model


def build(model):
    torch.manual_seed(0)
    detector = MODELS.build(model)
    detector.init_weights()
    # A teacher that differs from the student, so that taking the wrong one shows.
    with torch.no_grad():
        for p in detector.teacher.parameters():
            p.add_(0.02 * torch.randn_like(p))
    return detector.train()


def sample(boxes, labels, matrix=None):
    meta = {'img_shape': (64, 64), 'ori_shape': (64, 64), 'img_id': 1, 'scale_factor': (1.0, 1.0)}
    if matrix is not None:
        meta['homography_matrix'] = matrix
    made = DetDataSample(metainfo=meta)
    made.gt_instances = InstanceData(
        bboxes=torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        labels=torch.tensor(labels).long(),
    )
    made.ignored_instances = InstanceData(bboxes=torch.zeros(0, 4), labels=torch.zeros(0).long())
    return made


def batch(boxes=((4, 4, 30, 40),), labels=(3,)):
    """Two labelled images, and two unlabelled ones with a plain weak and a flipped strong view."""
    g = torch.Generator().manual_seed(1)
    pictures = [
        torch.randint(0, 256, (3, 64, 64), generator=g, dtype=torch.uint8) for _ in range(4)
    ]
    labeled = [sample(boxes, labels), sample([[20, 20, 44, 60]], [7])]
    return {
        'inputs': {
            'labeled': [*pictures[:2], None, None],
            'weak': [None, None, *pictures[2:]],
            'strong': [None, None, *[p.flip(2) for p in pictures[2:]]],
        },
        'data_samples': {
            'labeled': [*labeled, None, None],
            'weak': [None, None, sample([], []), sample([], [])],
            'strong': [None, None, sample([], [], FLIP), sample([], [], FLIP)],
        },
    }


def lesson(model, data, threshold=0.0):
    """What the teacher hook does to a batch before the step; returns the number of pseudo-boxes."""
    hook = EMATeacherHook(selector=dict(type='ScoreSelector', threshold=threshold))
    weak, strong = pop_branch(data, 'weak'), pop_branch(data, 'strong')
    hook.set_pseudo_labels(model, weak, strong, *model.teach(weak))
    put_branch(data, 'strong', strong)
    return sum(len(s.gt_instances) for s in strong['data_samples'])


def losses_of(model, data):
    torch.manual_seed(3)
    return model(**model.data_preprocessor(data, True), mode='loss')
