"""Parts of a training compared with mmdet's: the teacher's update, the data, the scores."""

import contextlib
import io
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmdet.engine.hooks import MeanTeacherHook
from mmdet.evaluation import CocoMetric
from mmdet.registry import DATASETS, MODELS
from mmengine.config import Config
from torch import nn

from ssod.data.coco_json import write_json
from ssod.evaluation.fast_coco import FastCocoMetric
from ssod.teachers.ema import EMA

Calls = dict[str, Callable[[], object]]
"""What to time, by name: ``ours`` and ``mmdet``."""

DECAY = 0.999


class _Pair(nn.Module):
    """A student and a teacher as mmdet's hook expects them."""

    def __init__(self, detector: Any, device: str) -> None:
        super().__init__()
        self.student = MODELS.build(deepcopy(detector)).to(device)
        self.teacher = MODELS.build(deepcopy(detector)).to(device)


def ema_calls(detector: Any, device: str) -> Calls:
    """An update of all parameters and buffers, by us and by mmdet's hook.

    Args:
        detector: Config of the detector.
        device: ``'cpu'`` or ``'cuda'``.
    """
    pair = _Pair(detector, device)
    ema = EMA(pair.teacher, pair.student)
    hook = MeanTeacherHook(momentum=1 - DECAY, skip_buffer=False)

    def theirs() -> None:
        """Do what mmdet's hook does after each step."""
        with torch.no_grad():
            hook.momentum_update(pair, 1 - DECAY)

    return {'ours': lambda: ema.update(DECAY), 'mmdet': theirs}


def data_calls(cfg: Config) -> Calls:
    """Loading the two views of an unlabelled image, by us and by mmdet's transforms.

    Both read the same images in order and apply the same weak and strong transforms.

    Args:
        cfg: Config of a semi-supervised training of this package.
    """
    ours = cfg.train_dataloader.dataset.datasets[1]
    views = ours.pipeline[1]
    keys = ('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor', 'flip')
    pack = dict(type='PackDetInputs', meta_keys=(*keys, 'flip_direction', 'homography_matrix'))
    theirs = deepcopy(ours)
    common = views.get('common', [])
    theirs.pipeline = [
        dict(type='LoadImageFromFile'),
        dict(type='LoadEmptyAnnotations'),
        dict(
            type='MultiBranch',
            branch_field=['unsup_teacher', 'unsup_student'],
            unsup_teacher=[*common, *views.weak, pack],
            unsup_student=[*common, *views.strong, pack],
        ),
    ]
    return {'ours': _reader(ours), 'mmdet': _reader(theirs)}


def _reader(cfg: Any) -> Callable[[], object]:
    dataset = DATASETS.build(cfg)
    state = {'next': 0}

    def read() -> object:
        """Load the next image."""
        state['next'] += 1
        return dataset[state['next'] % len(dataset)]

    return read


def scoring_calls(
    place: Path, images: int = 5000, truths: int = 36000, per_image: int = 100
) -> Calls:
    """Scoring detections as on COCO val2017, by us and by mmdet with pycocotools.

    Args:
        place: Where the file of the true boxes goes.
        images: Number of images.
        truths: Number of true boxes, of 80 classes.
        per_image: Detections in an image: its true boxes moved a little, and random boxes.
    """
    rng = np.random.default_rng(0)
    content = _truth(rng, images, truths)
    write_json(place / 'truth.json', content)
    results = _detections(rng, content, per_image)
    classes = tuple(category['name'] for category in content['categories'])
    calls: Calls = {}
    for name, cls in (('ours', FastCocoMetric), ('mmdet', CocoMetric)):
        with contextlib.redirect_stdout(io.StringIO()):
            metric = cls(ann_file=str(place / 'truth.json'))
        metric.dataset_meta = {'classes': classes}
        calls[name] = _scorer(metric, results)
    return calls


def _scorer(metric: CocoMetric, results: list[Any]) -> Callable[[], object]:
    def score() -> object:
        """Score all images."""
        with contextlib.redirect_stdout(io.StringIO()):
            return metric.compute_metrics(results)

    return score


def _boxes(rng: np.random.Generator, count: int) -> Any:
    sizes = np.exp(rng.uniform(2, 5.5, (count, 2)))
    return np.column_stack([rng.uniform(0, 1, (count, 2)) * (640 - sizes), sizes])


def _truth(rng: np.random.Generator, images: int, truths: int) -> dict[str, Any]:
    boxes, owners = _boxes(rng, truths), rng.integers(1, images + 1, truths)
    labels = rng.integers(1, 81, truths)
    return {
        'images': [
            {'id': i, 'file_name': f'{i}.jpg', 'width': 640, 'height': 640}
            for i in range(1, images + 1)
        ],
        'annotations': [
            {
                'id': i + 1,
                'image_id': int(owners[i]),
                'category_id': int(labels[i]),
                'bbox': boxes[i].tolist(),
                'area': float(boxes[i, 2] * boxes[i, 3]),
                'iscrowd': 0,
            }
            for i in range(truths)
        ],
        'categories': [{'id': i, 'name': str(i)} for i in range(1, 81)],
    }


def _detections(rng: np.random.Generator, content: dict[str, Any], per_image: int) -> list[Any]:
    own: dict[int, list[Any]] = {image['id']: [] for image in content['images']}
    for annotation in content['annotations']:
        own[annotation['image_id']].append(annotation)
    results = []
    for image, annotations in own.items():
        boxes, labels = _boxes(rng, per_image), rng.integers(0, 80, per_image)
        scores = 0.6 * rng.random(per_image)
        for i, annotation in enumerate(annotations[:per_image]):
            boxes[i] = np.array(annotation['bbox']) * (1 + rng.normal(0, 0.06, 4))
            labels[i], scores[i] = annotation['category_id'] - 1, 0.4 + 0.6 * rng.random()
        boxes[:, 2:] = boxes[:, :2] + np.abs(boxes[:, 2:])
        found = {'img_id': image, 'bboxes': boxes, 'scores': scores, 'labels': labels}
        results.append(({'img_id': image, 'width': 640, 'height': 640}, found))
    return results
