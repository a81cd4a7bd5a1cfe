"""What a study trains."""

import re
from pathlib import Path

import pytest

from ssod.studies.plan import read_study

ROOT = Path(__file__).parents[2]


def test_the_runs_of_a_study(study_file):
    study = read_study(study_file)
    assert study.baseline == 'supervised'
    names = [run.name for run in study.runs()]
    # 2 seeds × (2 + 1 budgets) × 3 methods, each with a place of its own.
    assert len(names) == len(set(names)) == 18
    # The first seed is whole before the second begins.
    assert names[:4] == [
        'cells/50pct/supervised/1',
        'cells/50pct/teacher/1',
        'cells/50pct/eager/1',
        'cells/25pct/supervised/1',
    ]
    assert all(name.endswith('/1') for name in names[:9])
    cells, scenes = study.data
    assert (cells.train, cells.images) == ('annotations/instances_train.json', 'images')
    assert (scenes.train, scenes.images) == ('train.json', 'pictures')


def test_the_study_of_the_docs(tmp_path, monkeypatch):
    text = (ROOT / 'docs/questions.md').read_text(encoding='utf-8')
    (study,) = re.findall(r'```python\n(data = .*?)```', text, re.DOTALL)
    file = tmp_path / 'mine.py'
    file.write_text(study, encoding='utf-8')
    monkeypatch.chdir(ROOT)
    assert len(read_study(file).runs()) == 9


def test_the_starts_of_a_seed_come_first(started_study_file):
    study = read_study(started_study_file)
    names = [run.name for run in study.runs()]
    # One for each data set, budget and seed.
    assert len(names) == len(set(names)) == 18 + 6
    assert names[:4] == [
        'cells/50pct/start/1',
        'cells/25pct/start/1',
        'scenes/25pct/start/1',
        'cells/50pct/supervised/1',
    ]
    starts = [study.start_of(run) for run in study.runs()]
    assert [start.name if start else None for start in starts[2:7]] == [
        None,
        *3 * ['cells/50pct/start/1'],
        'cells/25pct/start/1',
    ]


@pytest.mark.parametrize(
    ('old', 'new', 'error', 'message'),
    [
        ('seeds = [1, 2]', '', ValueError, 'seeds is missing or empty'),
        ('seeds = [1, 2]', 'sedes = [1, 2]', ValueError, "unknown setting 'sedes'.*'seeds'"),
        ('percents=[25]', 'percent=[25]', ValueError, "data.scenes: .*'percent'.*'percents'"),
        # A fraction is not meant where shares are of a hundred, but cannot be told from 0.25 %.
        ('percents=[25]', 'percents=[250]', ValueError, r'data.scenes.percents is \[250\]'),
        ('percents=[25], ', '', ValueError, r'data.scenes.percents is \(\); list percentages'),
        (
            'percents=[25]',
            'percents=25',
            ValueError,
            r'data.scenes.percents is 25; list percentages',
        ),
        # Two results of one run would narrow its interval.
        ('seeds = [1, 2]', 'seeds = [1, 1, 2]', ValueError, 'seeds has 1 twice; remove one'),
        ('[50, 25]', '[50, 50.0000001]', ValueError, 'data.cells.percents has 50 twice'),
        ('seeds = [1, 2]', 'seeds = 2', ValueError, 'seeds is 2, but must be a list of whole'),
        ('seeds = [1, 2]', "seeds = ['a']", ValueError, r"seeds is \['a'\], but must be a list"),
        ('seeds = [1, 2]', 'seeds = [-1]', ValueError, r'seeds is \[-1\], but must be a list'),
        ('    eager=', '    start=', ValueError, "a method cannot be named 'start'"),
        ('config=', 'cfg=', ValueError, "methods.eager: unknown setting 'cfg'"),
        (
            'supervised_fast',
            'supervized_fast',
            FileNotFoundError,
            'methods.supervised.config .*viz',
        ),
    ],
)
def test_a_wrong_study_is_refused(study_file, old, new, error, message):
    text = study_file.read_text()
    assert old in text
    study_file.write_text(text.replace(old, new))
    with pytest.raises(error, match=message):
        read_study(study_file)


def test_a_missing_study_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match='none.py does not exist'):
        read_study(tmp_path / 'none.py')
