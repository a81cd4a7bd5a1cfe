"""Labelled images without any object stay in the training set."""

import json
import shutil

from mmdet.registry import DATASETS


def test_an_image_without_objects_is_kept(digits_cfg, digits, tmp_path):
    # Trap: mmdet drops such images unless told otherwise, and with them all pure background.
    root = tmp_path / 'digits'
    shutil.copytree(digits, root)
    path = root / 'annotations/labeled.json'
    content = json.loads(path.read_text())
    first = content['images'][0]['id']
    content['annotations'] = [a for a in content['annotations'] if a['image_id'] != first]
    path.write_text(json.dumps(content))
    setting = digits_cfg.train_dataloader.dataset.datasets[0]
    setting.data_root = str(root)
    dataset = DATASETS.build(setting)
    assert [len(dataset.get_data_info(i)['instances']) > 0 for i in range(2)] == [False, True]
    sample = dataset[0]['data_samples']['labeled']
    assert len(sample.gt_instances) == 0
