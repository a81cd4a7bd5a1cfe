"""The notebook runs from top to bottom, in seconds and on few scenes."""

import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CELLS = json.loads((ROOT / 'docs/notebook.ipynb').read_text(encoding='utf-8'))['cells']
CODE = [cell for cell in CELLS if cell['cell_type'] == 'code']


@pytest.fixture
def short():
    """Two iterations on few scenes, and boxes however unsure."""
    loaders = ('train_dataloader.dataset.datasets.0', 'train_dataloader.dataset.datasets.1')
    settings = {
        f'{loader}.scenes.{name}': number
        for loader in (*loaders, 'val_dataloader.dataset', 'test_dataloader.dataset')
        for name, number in {'train_images': 20, 'val_images': 4}.items()
    }
    return settings | {
        'train_cfg.max_iters': 2,
        'train_cfg.val_interval': 2,
        'train_dataloader.batch_size': 4,
        'train_dataloader.num_workers': 0,
        'train_dataloader.persistent_workers': False,
        'default_hooks.teacher.burn_in': 1,
        'default_hooks.checkpoint.interval': 1,
        'model.detector.test_cfg.rcnn.score_thr': 0.0,
        'visualizer.name': 'notebook',
    }


def test_all_cells_run(monkeypatch, tmp_path, short, capsys):
    monkeypatch.chdir(tmp_path)
    Path('configs').symlink_to(ROOT / 'configs')
    names = {}
    for number, cell in enumerate(CODE):
        exec(compile(''.join(cell['source']), f'cell {number}', 'exec'), names)
        if 'visualizer.name' not in names.get('options', short):
            assert names['options'].keys() < short.keys()
            names['options'].update(short)
    assert names['summary']['iterations'] == 2
    assert Path(names['work_dir'], 'report.html').is_file()
    assert len(names['found'].content['images']) == 4
    assert 'boxes in 18 images' in capsys.readouterr().out


def test_outputs_are_not_kept():
    assert [cell['outputs'] or cell['execution_count'] for cell in CODE] == [None] * len(CODE)
