"""``tools/check_data.py`` as a user starts it, on the config for own data."""

import importlib.util
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ssod.checks import images

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / 'configs/mt_fasterrcnn_custom.py'


@pytest.fixture
def data(tmp_path, monkeypatch):
    """``data/custom`` with five labelled images, four others and two for validation."""
    monkeypatch.chdir(tmp_path)
    root = tmp_path / 'data/custom'
    for seed, (part, count) in enumerate({'train': 5, 'unlabeled': 4, 'val': 2}.items()):
        (root / part).mkdir(parents=True)
        rng = np.random.default_rng(seed)
        for i in range(count):
            pixels = rng.integers(0, 256, (30, 40, 3), np.uint8)
            Image.fromarray(pixels).save(root / part / f'{i}.png')
        box = {'bbox': [4, 6, 8, 12], 'area': 96, 'iscrowd': 0}
        content = {
            'images': [
                {'id': i, 'file_name': f'{i}.png', 'width': 40, 'height': 30} for i in range(count)
            ],
            'annotations': [
                {**box, 'id': i + 1, 'image_id': i, 'category_id': 1 + i % 2} for i in range(count)
            ],
            'categories': [{'id': 1, 'name': 'cat'}, {'id': 2, 'name': 'dog'}],
        }
        if part != 'unlabeled':
            (root / f'{part}.json').write_text(json.dumps(content))
    return root


def check(monkeypatch, capsys, *arguments, tool='check_data'):
    """The tool's exit code, what it printed, and what it printed on stderr."""
    monkeypatch.setattr(sys, 'argv', [tool, *map(str, arguments)])
    spec = importlib.util.spec_from_file_location(tool, ROOT / f'tools/{tool}.py')
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    with pytest.raises(SystemExit) as left:
        tool.main()
    out, err = capsys.readouterr()
    return left.value.code, out.splitlines(), err


def test_nothing_is_wrong(data, monkeypatch, capsys):
    code, lines, err = check(monkeypatch, capsys, CONFIG, '--workers', 2)
    assert code == 0
    # The test is done with the validation's data, which are looked at once.
    assert lines == ['errors: 0, warnings: 0, data sets: 4, images: 11']
    assert 'opening images' in err


def test_own_data(data, monkeypatch, capsys):
    """Of the command line; a class without a box is of these data and not of the config's."""
    path = data / 'train.json'
    content = json.loads(path.read_text())
    content['categories'].append({'id': 3, 'name': 'owl'})
    path.write_text(json.dumps(content))
    own = ['--labeled', path, '--images', data / 'train', '--unlabeled', data / 'unlabeled']
    monkeypatch.chdir(data)
    code, lines, _ = check(monkeypatch, capsys, CONFIG, *own, '--val', data / 'val.json')
    # That the validation labels lack it is no fault.
    assert code == 0
    assert any(
        line.startswith('warning: ') and "train.json: has no annotation of the class 'owl'" in line
        for line in lines
    )


def test_looking_leaves_the_files_of_a_run_alone(data, monkeypatch, capsys):
    """The parts that a training made of its labels, in the same work directory."""
    run = data / 'work_dirs/mt_fasterrcnn_custom'
    (run / 'labels').mkdir(parents=True)
    files = [run / 'labeled.json', run / 'val.json', run / 'labels/train.json']
    for file in files:
        file.write_text('kept')
    path = data / 'train.json'
    content = json.loads(path.read_text())
    content['annotations'] = [a | {'bbox': [30, 6, 12, 12]} for a in content['annotations']]
    path.write_text(json.dumps(content))
    monkeypatch.chdir(data)
    own = ['--labeled', 'train.json', '--images', 'train', '--unlabeled', 'unlabeled']
    _, lines, _ = check(monkeypatch, capsys, CONFIG, *own, '--workers', 1)
    assert [file.read_text() for file in files] == ['kept'] * 3
    assert sorted(p.name for p in run.iterdir()) == ['labeled.json', 'labels', 'val.json']
    # The findings name the file that was given.
    assert any(line.startswith('warning: train.json (as labeled.json): ') for line in lines)
    assert any(line.startswith('warning: train.json (as val.json): ') for line in lines)


@pytest.mark.parametrize('tool', ['check_data', 'browse_views'])
def test_what_is_refused_at_once_is_what_was_given(data, monkeypatch, capsys, tool):
    """A Pascal VOC data set without an object, and not the JSON that was made of it."""
    for i in range(5):
        (data / f'train/{i}.xml').write_text('<annotation></annotation>')
    monkeypatch.chdir(data)
    own = ['--labeled', 'train', '--unlabeled', 'unlabeled']
    code, _, err = check(monkeypatch, capsys, CONFIG, *own, tool=tool)
    assert code == 1
    told = 'error: train (as labels/train.json): categories is empty; list the classes to learn'
    assert err.splitlines()[-1] == told


@pytest.mark.parametrize('tool', ['check_data', 'browse_views'])
def test_the_detector_is_the_trainings(data, monkeypatch, capsys, tool):
    """One that boxes cannot teach is refused, as in the training."""
    own = ['--labeled', 'train.json', '--images', 'train', '--unlabeled', 'unlabeled']
    other = ['--detector', 'mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py']
    monkeypatch.chdir(data)
    config = ROOT / 'configs/mt_any_coco10pct.py'
    code, _, err = check(monkeypatch, capsys, config, *other, *own, tool=tool)
    assert code == 1
    assert 'mask-rcnn_r50_fpn_1x_coco.py' in err.splitlines()[-1]


def test_all_is_told_at_once(data, monkeypatch, capsys):
    (data / 'train/0.png').write_bytes(b'')
    (data / 'val/0.png').write_bytes((data / 'train/1.png').read_bytes())
    (data / 'unlabeled/notes.txt').touch()
    content = json.loads((data / 'train.json').read_text())
    content['annotations'][3]['bbox'] = [30, 6, 12, 12]
    (data / 'train.json').write_text(json.dumps(content))
    code, lines, _ = check(monkeypatch, capsys, CONFIG, '--workers', 1)
    assert code == 1
    assert [line.split('; ')[0] for line in lines[:-1]] == [
        "warning: data/custom/train.json: 'bbox' of annotations[3] (id 4) extends beyond its image "
        'of 40 x 30: [30, 6, 12, 12]',
        'warning: data/custom/unlabeled: notes.txt is not named like an image',
        'error: data/custom/train/0.png: is empty: 0 bytes',
        'warning: data/custom/train.json: 1 of its images have copies in '
        'data/custom/val.json, such as data/custom/train/1.png',
    ]
    assert lines[-1] == 'errors: 1, warnings: 3, data sets: 4, images: 11'


def test_a_hook_may_have_a_priority(data, monkeypatch, capsys):
    (data / 'unlabeled/0.png').write_bytes(b'')
    hook = [f'default_hooks.broken_images.{x}' for x in ('priority=LOW', 'max_share=0.5')]
    code, lines, _ = check(monkeypatch, capsys, CONFIG, '--cfg-options', *hook)
    assert code == 0
    assert lines[-1] == 'errors: 0, warnings: 1, data sets: 4, images: 11'


def test_warnings_alone_are_no_failure(data, monkeypatch, capsys):
    (data / 'unlabeled/notes.txt').touch()
    code, lines, _ = check(monkeypatch, capsys, CONFIG, '--workers', 1)
    assert code == 0
    assert lines[-1] == 'errors: 0, warnings: 1, data sets: 4, images: 11'


def test_missing_files_do_not_end_it(data, monkeypatch, capsys):
    # All that is missing, not only the first.
    (data / 'train.json').unlink()
    (data / 'val.json').unlink()
    code, lines, _ = check(monkeypatch, capsys, CONFIG, '--workers', 1)
    assert code == 1
    missing = [line.split(': ')[1] for line in lines if 'does not exist' in line]
    assert {'data/custom/train.json', 'data/custom/val.json'} <= set(missing)


def test_data_that_are_not_made_yet(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    code, lines, _ = check(monkeypatch, capsys, ROOT / 'configs/mt_fasterrcnn_digits10pct.py')
    assert code == 0
    assert lines[0] == (
        'not checked: train_dataloader.dataset.datasets[0], a custom data set or made on first use'
    )
    assert lines[-1] == 'errors: 0, warnings: 0, data sets: 4, images: 0'


def test_data_that_were_made(digits, tmp_path, monkeypatch, capsys):
    options = [
        f'{part}.data_root={digits}'
        for part in (
            'train_dataloader.dataset.datasets.0',
            'train_dataloader.dataset.datasets.1',
            'val_dataloader.dataset',
            'test_dataloader.dataset',
        )
    ] + [f'{part}_evaluator.ann_file={digits}/annotations/val.json' for part in ('val', 'test')]
    options.append(f'default_hooks.quality.ann_file={digits}/annotations/unlabeled_truth.json')
    config = ROOT / 'configs/mt_fasterrcnn_digits10pct.py'
    code, lines, _ = check(monkeypatch, capsys, config, '--workers', 1, '--cfg-options', *options)
    # Two labelled images do not show all digits.
    assert code == 0
    assert all("has no annotation of the class '" in line for line in lines[:-1])
    assert lines[-1].endswith('data sets: 4, images: 24')


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['missing.py'], 'error: config missing.py does not exist; see configs/ for those that do'),
        (['data'], 'error: config data is a folder; see configs/ for those that do'),
        (
            ['empty.py'],
            'error: empty.py: has no train_dataloader; give the complete config of a training',
        ),
        (
            [CONFIG, '--workers', '0'],
            "error: argument --workers: '0' is not an integer of at least 1",
        ),
        (
            [CONFIG, '--cfg-options', 'trian_cfg.max_iters=2'],
            "unknown option 'trian_cfg.max_iters'; did you mean train_cfg.max_iters?",
        ),
    ],
)
def test_a_mistake_is_told_in_one_line(arguments, message, data, monkeypatch, capsys):
    Path('empty.py').write_text('x = 1\n')
    code, lines, err = check(monkeypatch, capsys, *arguments)
    assert code in (1, 2)
    assert lines == []
    assert message in err.splitlines()[-1]


def test_a_process_that_dies(data, monkeypatch, capsys):
    # As one does whose memory the system wants back.
    monkeypatch.setattr(images, 'look_at', die)
    code, _, err = check(monkeypatch, capsys, CONFIG, '--workers', 1)
    assert code == 1
    assert err.splitlines()[-1].startswith('error: a process that opens images died')


def die(image):
    os._exit(9)
