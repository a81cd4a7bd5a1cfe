"""COCO's scores, against mmdet's own metric with pycocotools."""

import json
import warnings

import numpy as np
import pytest
import torch
from mmdet.evaluation import CocoMetric
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData

from ssod.evaluation.fast_coco import FastCocoMetric

CLASSES = ('a', 'b', 'c')


def write_truth(path, images=12, seed=0):
    """Boxes of all sizes, some crowds, an image without any; ids that do not begin at 1."""
    rng = np.random.default_rng(seed)
    annotations = []
    for image in range(1, images):
        for _ in range(rng.integers(1, 6)):
            w, h = np.exp(rng.uniform(1.5, 5.5, 2)).round(2)
            x, y = rng.uniform(0, 200, 2).round(2)
            annotations.append(
                {
                    'id': len(annotations) + 1,
                    'image_id': 7 + image,
                    'category_id': int(rng.integers(0, 3)) * 4 + 2,
                    'bbox': [x, y, w, h],
                    'area': w * h,
                    'iscrowd': int(rng.random() < 0.1),
                }
            )
    sizes = {'width': 500, 'height': 500}
    content = {
        'images': [{'id': 7 + i, 'file_name': f'{i}.png', **sizes} for i in range(images)],
        'annotations': annotations,
        'categories': [{'id': 4 * i + 2, 'name': name} for i, name in enumerate(CLASSES)],
    }
    path.write_text(json.dumps(content))
    return content


def detections(content, noise, seed=1):
    """Truths that were moved, and boxes out of nowhere."""
    rng = np.random.default_rng(seed)
    samples = []
    for image in content['images']:
        own = [a for a in content['annotations'] if a['image_id'] == image['id']]
        boxes = [np.array(a['bbox']) * (1 + rng.normal(0, noise, 4)) for a in own]
        labels = [(a['category_id'] - 2) // 4 for a in own]
        for _ in range(3):
            boxes.append(rng.uniform(5, 200, 4))
            labels.append(int(rng.integers(0, 3)))
        boxes = np.abs(np.stack(boxes)).astype(np.float32)
        boxes[:, 2:] += boxes[:, :2]
        sample = DetDataSample(metainfo={'img_id': image['id'], 'ori_shape': (500, 500)})
        sample.pred_instances = InstanceData(
            bboxes=torch.from_numpy(boxes),
            scores=torch.from_numpy(rng.random(len(boxes)).astype(np.float32)),
            labels=torch.tensor(labels),
        )
        samples.append(sample.to_dict())
    return samples


def scores(metric, samples):
    metric.dataset_meta = {'classes': CLASSES}
    metric.process({}, samples)
    return metric.evaluate(len(samples))


@pytest.mark.parametrize('noise', [0.0, 0.05, 0.3])
def test_equal_to_mmdets(tmp_path, noise):
    path = tmp_path / 'truth.json'
    samples = detections(write_truth(path), noise)
    ours, theirs = (
        scores(cls(ann_file=str(path)), samples) for cls in (FastCocoMetric, CocoMetric)
    )
    assert ours == theirs
    assert 0 < ours['coco/bbox_mAP'] < 1


def test_what_is_not_finite_is_left_out(tmp_path):
    path = tmp_path / 'truth.json'
    samples = detections(write_truth(path), 0.05)
    wanted = scores(FastCocoMetric(ann_file=str(path)), samples)
    for sample, (field, value) in zip(
        samples, [('scores', torch.nan), ('bboxes', torch.inf), ('scores', torch.inf)], strict=False
    ):
        found = sample['pred_instances']
        lost = {name: found[name][:1].clone() for name in found}
        lost[field][:] = value
        for name in found:
            found[name] = torch.cat([found[name], lost[name]])
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        assert scores(FastCocoMetric(ann_file=str(path)), samples) == wanted


def test_more_objects_than_count(tmp_path):
    # 150 of one class, all found: mAP looks at the best 100 of an image, mAP_50 at the best 1000.
    path = tmp_path / 'truth.json'
    content = write_truth(path, images=1)
    boxes = [[10.0 * (i % 15), 10.0 * (i // 15), 8.0, 8.0] for i in range(150)]
    content['annotations'] = [
        {'id': i + 1, 'image_id': 7, 'category_id': 2, 'bbox': box, 'area': 64.0, 'iscrowd': 0}
        for i, box in enumerate(boxes)
    ]
    path.write_text(json.dumps(content))
    samples = detections(content, 0.0)
    ours, theirs = (
        scores(cls(ann_file=str(path)), samples) for cls in (FastCocoMetric, CocoMetric)
    )
    assert ours == theirs
    assert ours['coco/bbox_mAP'] < 0.7 < ours['coco/bbox_mAP_50']


@pytest.mark.parametrize(
    ('kind', 'id_of'),
    [
        ('beyond what a double holds', lambda i: 2**53 + i),
        ('of 19 digits', lambda i: 9_000_000_000_000_000_000 + i),
        ('text', lambda i: f'n{i:04}'),
        ('as pandas writes them', float),
        ('negative', lambda i: i - 1000),
    ],
)
def test_ids_of_all_kinds(tmp_path, kind, id_of):
    path = tmp_path / 'truth.json'
    content = write_truth(path)
    samples = detections(content, 0.05)
    expected = scores(FastCocoMetric(ann_file=str(path)), samples)
    for image, sample in zip(content['images'], samples, strict=True):
        image['id'] = sample['img_id'] = id_of(image['id'])
        # mmdet and pycocotools read neither.
        image['height'] = 500.5
    for category in content['categories']:
        category['id'] = id_of(category['id'])
    for annotation in content['annotations']:
        for part in ('image_id', 'category_id'):
            annotation[part] = id_of(annotation[part])
        annotation['segmentation'] = [1, 2, 3, 4, 5, 6]
    path.write_text(json.dumps(content))
    assert scores(FastCocoMetric(ann_file=str(path)), samples) == expected


def test_texts_and_numbers_as_ids_of_one_file(tmp_path):
    path = tmp_path / 'truth.json'
    content = write_truth(path)
    samples = detections(content, 0.05)
    expected = scores(FastCocoMetric(ann_file=str(path)), samples)
    images, categories = ({e['id']: e for e in content[part]} for part in ('images', 'categories'))
    for entries, field in ((images, 'image_id'), (categories, 'category_id')):
        entries[max(entries)]['id'] = 'last'
        for annotation in content['annotations']:
            annotation[field] = entries[annotation[field]]['id']
    samples[-1]['img_id'] = 'last'
    path.write_text(json.dumps(content))
    assert scores(FastCocoMetric(ann_file=str(path)), samples) == expected


def test_ap_of_each_class_where_pycocotools_would_stumble(tmp_path):
    path = tmp_path / 'truth.json'
    content = write_truth(path)
    samples = detections(content, 0.05)
    options = dict(ann_file=str(path), classwise=True)
    expected = scores(CocoMetric(**options), samples)
    assert {'coco/a_precision', 'coco/bbox_mAP'} <= expected.keys()
    for annotation in content['annotations']:
        annotation['id'] = f'{annotation["id"]}'
        if not annotation['iscrowd']:
            del annotation['iscrowd']
    path.write_text(json.dumps(content))
    with pytest.raises((KeyError, TypeError, ValueError)):
        scores(CocoMetric(**options), samples)
    assert scores(FastCocoMetric(**options), samples) == expected


def test_what_belongs_to_no_image_is_passed_over(tmp_path):
    path = tmp_path / 'truth.json'
    content = write_truth(path)
    samples = detections(content, 0.05)
    expected = scores(FastCocoMetric(ann_file=str(path)), samples)
    content['annotations'].append({**content['annotations'][0], 'id': 999, 'image_id': 999})
    path.write_text(json.dumps(content))
    assert scores(FastCocoMetric(ann_file=str(path)), samples) == expected


def test_twice_with_one_metric(tmp_path):
    # A validation in the middle of a run must not change the next one.
    path = tmp_path / 'truth.json'
    content = write_truth(path)
    metric = FastCocoMetric(ann_file=str(path))
    first = scores(metric, detections(content, 0.05))
    assert scores(metric, detections(content, 0.3)) != first
    assert scores(metric, detections(content, 0.05)) == first


def test_the_file_of_detections(tmp_path):
    path = tmp_path / 'truth.json'
    samples = detections(write_truth(path), 0.05)
    files = []
    for name, cls in (('ours', FastCocoMetric), ('theirs', CocoMetric)):
        scores(cls(ann_file=str(path), outfile_prefix=str(tmp_path / name)), samples)
        files.append((tmp_path / f'{name}.bbox.json').read_text())
    assert files[0] == files[1]
    assert len(json.loads(files[0])) > 12


def test_nothing_detected(tmp_path):
    path = tmp_path / 'truth.json'
    samples = detections(write_truth(path), 0.0)
    for sample in samples:
        sample['pred_instances'] = {k: v[:0] for k, v in sample['pred_instances'].items()}
    ours = scores(FastCocoMetric(ann_file=str(path)), samples)
    assert ours['coco/bbox_mAP'] == ours['coco/bbox_mAP_50'] == 0
    assert len(ours) == 6


@pytest.mark.parametrize(
    'settings',
    [
        dict(classwise=True),
        dict(metric_items=['mAP', 'AR@100']),
        dict(iou_thrs=np.array([0.5, 0.75])),
        dict(proposal_nums=(100, 200, 300)),
    ],
)
def test_what_is_left_to_mmdet(tmp_path, settings):
    path = tmp_path / 'truth.json'
    samples = detections(write_truth(path), 0.05)
    metrics = [cls(ann_file=str(path), **settings) for cls in (FastCocoMetric, CocoMetric)]
    ours, theirs = (scores(metric, samples) for metric in metrics)
    assert repr(ours) == repr(theirs)
    assert metrics[0]._truth is None
