"""``tools/report.py`` and ``tools/browse_views.py`` as a user calls them."""

import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / 'configs/mt_fasterrcnn_digits10pct.py'


@pytest.fixture
def run(tmp_path):
    """The folder of a run that has only logged."""
    path = tmp_path / 'run/20250101_000000/vis_data/scalars.json'
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({'loss': 0.5, 'iter': 50, 'step': 50}))
    return tmp_path / 'run'


def test_the_report_is_a_page_in_the_folder(bench, run):
    printed = bench.python(ROOT / 'tools/report.py', run, log='report.txt')
    assert printed.splitlines()[-1] == str(run / 'report.html')
    assert 'iteration 50' in (run / 'report.html').read_text()


def test_the_report_goes_where_it_is_wanted(call, capsys, run, tmp_path):
    out = tmp_path / 'new/page.html'
    call('report', run, '--out', out)
    assert capsys.readouterr().out.splitlines()[-1] == str(out)
    assert 'iteration 50' in out.read_text()
    assert not (run / 'report.html').exists()


def test_views_are_a_page_in_the_work_directory(call, monkeypatch, capsys, digits_cfg, tmp_path):
    monkeypatch.chdir(tmp_path)
    digits_cfg.pop('work_dir')
    digits_cfg.dump('own.py')
    erase = 'train_dataloader.dataset.datasets.1.pipeline.1.strong=[]'
    call('browse_views', 'own.py', '--number', 2, '--cfg-options', erase)
    assert capsys.readouterr().out.splitlines()[-1] == 'work_dirs/own/views.html'
    page = Path('work_dirs/own/views.html').read_text()
    # Two labelled images, two others in two views, which are of one size without augmentation.
    assert page.count('<img ') == 2 + 2 * 2
    assert page.count('<figcaption>strong view, 96×96') == 2


def test_views_of_own_data_leave_the_files_of_a_run_alone(
    call, monkeypatch, capsys, digits, tmp_path
):
    monkeypatch.chdir(tmp_path)
    run = Path('work_dirs') / CONFIG.stem
    run.mkdir(parents=True)
    for name in ('labeled.json', 'val.json'):
        (run / name).write_text('kept')
    images = digits / 'images/val'
    own = ['--labeled', digits / 'annotations/val.json', '--images', images]
    call('browse_views', CONFIG, *own, '--unlabeled', digits / 'images/train', '--number', 1)
    assert capsys.readouterr().out.splitlines()[-1] == str(run / 'views.html')
    assert (run / 'views.html').read_text().count('<img ') == 1 + 2
    assert [(run / name).read_text() for name in ('labeled.json', 'val.json')] == ['kept'] * 2
    assert sorted(p.name for p in run.iterdir()) == ['labeled.json', 'val.json', 'views.html']


def test_no_program_is_executed_for_a_config(call, capsys, tmp_path):
    (tmp_path / 'setup.py').write_text("raise RuntimeError('executed')")
    with pytest.raises(SystemExit, match='1'):
        call('report', tmp_path)
    assert 'is not the folder of a run: it has no logs or check' in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ['setup.py']


@pytest.mark.parametrize(
    ('tool', 'arguments', 'message'),
    [
        ('report', ['nowhere'], 'work_dir nowhere is not a folder'),
        ('browse_views', ['missing.py'], 'config missing.py does not exist'),
        ('browse_views', [CONFIG, '--number', '0'], 'number is 0, but must be at least 1'),
    ],
)
def test_a_mistake_is_told_in_one_line(
    call, monkeypatch, capsys, tmp_path, tool, arguments, message
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as left:
        call(tool, *arguments)
    assert left.value.code == 1
    (line,) = (line for line in capsys.readouterr().err.splitlines() if 'error: ' in line)
    assert message in line
    assert list(tmp_path.iterdir()) == []
