"""The record of skipped steps: what it forgets, and when."""

import json

import numpy as np
from mmdet.structures import DetDataSample

from ssod.teachers.non_finite import FILE, NonFiniteRecord


def skipped(record, iteration, img_id=0):
    """A step with an infinite gradient."""
    image = DetDataSample(metainfo=dict(img_id=img_id, img_path=f'{iteration}.png'))
    record.skipped(iteration, float('inf'), {'data_samples': {'labeled': [image]}})


def test_a_step_is_forgotten_when_its_window_is_over(tmp_path):
    # The window of ten that ends with iteration 9 begins with 0, the next one does not.
    record = NonFiniteRecord(10, tmp_path)
    skipped(record, 0)
    record.forget(9)
    assert list(record.steps) == [0]
    record.forget(10)
    assert list(record.steps) == []


def test_the_file_has_the_batches_of_one_window(tmp_path):
    record = NonFiniteRecord(10, tmp_path)
    seen = []
    for iteration in (0, 5, 11, 40):
        skipped(record, iteration)
        told = json.loads((tmp_path / FILE).read_text())
        seen.append([batch['images'][0]['img_path'] for batch in told['batches']])
    assert seen == [['0.png'], ['0.png', '5.png'], ['5.png', '11.png'], ['40.png']]
    # All are counted, and a checkpoint holds no more than the file.
    assert told['skipped_steps'] == 4
    assert record.state_dict()['batches'] == told['batches']


def test_ids_of_a_users_own_data_set(tmp_path):
    skipped(NonFiniteRecord(10, tmp_path), 0, np.int64(3))
    (batch,) = json.loads((tmp_path / FILE).read_text())['batches']
    assert batch['images'][0]['img_id'] == 3
