"""Own data that a config cannot learn from."""

from dataclasses import replace
from pathlib import Path

import pytest
from mmengine.config import Config

from ssod.checks.own_data import check_own_data
from ssod.own_data import OwnData
from ssod.runs import load_config

GIVEN = OwnData(Path('a.json'), Path('images'))
TEACHERS = ['configs/mt_fasterrcnn_small.py', 'configs/unbiasedteacher_fasterrcnn_coco10pct.py']


@pytest.mark.parametrize('name', ['unlabeled', 'unlabeled_images', 'truth'])
def test_unlabelled_images_that_nothing_learns_from(name):
    cfg = Config.fromfile('configs/supervised_fasterrcnn_small.py')
    check_own_data(cfg, GIVEN)
    useless = replace(GIVEN, **{name: Path('b')})
    told = rf'small.py learns from no .*\(--{name.replace("_", "-")}\) b; leave it out'
    with pytest.raises(ValueError, match=told):
        check_own_data(cfg, useless)
    for teacher in TEACHERS:
        check_own_data(Config.fromfile(teacher), useless)


def test_mmdets_own_teacher(tmp_path):
    # Before anything is written.
    config = 'studies/mmdet/softteacher_fasterrcnn_small.py'
    told = (
        r"small.py: model.type SoftTeacher is mmdet's own, .* \(see docs/from-mmdet.md\), or a CO"
    )
    with pytest.raises(ValueError, match=told):
        load_config(config, data=replace(GIVEN, unlabeled=tmp_path), work_dir=str(tmp_path / 'run'))
    assert not (tmp_path / 'run').exists()
    # The sizes that its sampler needs are in a JSON.
    check_own_data(Config.fromfile(config), replace(GIVEN, unlabeled=tmp_path / 'b.json'))


def test_what_is_no_training_is_left_to_others():
    check_own_data(Config(dict(model=dict(type='FasterRCNN'))), GIVEN)
    check_own_data(Config(dict(test_cfg=dict())), GIVEN)
