"""Data for benchmarks."""

import json

import cv2

from ssod.benchmarks.pictures import pictures


def test_pictures(tmp_path):
    data = pictures(tmp_path, 64, 48, count=4)
    labeled, unlabeled = (json.loads(p.read_text()) for p in (data.labeled, data.unlabeled))
    assert [len(part['images']) for part in (labeled, unlabeled)] == [2, 2]
    assert [len(part['annotations']) for part in (labeled, unlabeled)] == [14, 0]
    for image in labeled['images'] + unlabeled['images']:
        assert cv2.imread(str(data.images / image['file_name'])).shape == (48, 64, 3)
    for annotation in labeled['annotations']:
        x, y, w, h = annotation['bbox']
        assert w > 0
        assert h > 0
        assert x + w <= 64
        assert y + h <= 48
