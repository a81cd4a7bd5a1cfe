"""The benchmark from the command line."""

import json
from pathlib import Path

import pytest

from ssod.benchmarks import running

ROOT = Path(__file__).parents[2]


def test_a_benchmark(bench):
    (bench.place / 'configs').symlink_to(ROOT / 'configs')
    options = ['train_dataloader.num_workers=0', 'train_dataloader.persistent_workers=False']
    options += ['train_dataloader.batch_size=4']
    printed = bench.python(
        ROOT / 'tools/benchmark.py',
        'configs/mt_fasterrcnn_digits10pct.py',
        '--parts',
        *('steps', 'phases', 'ema', 'data'),
        *('--rounds', 1, '--out', 'times.json'),
        *('--pictures', '96x96', '--cfg-options', *options),
        log='first.txt',
    )
    times = json.loads((bench.place / 'times.json').read_text())
    assert list(times['seconds']) == ['steps', 'phases', 'ema', 'data']
    steps = times['seconds']['steps']
    assert list(steps) == ['floor', 'configs/mt_fasterrcnn_digits10pct']
    assert all(len(values) == 1 and values[0] > 0 for values in steps.values())
    assert times['machine']['cores'] >= 1
    for name in (*steps, 'selection and projection', 'mmdet'):
        assert f'| {name} | ' in printed
    # Made for the benchmark alone.
    assert not (bench.place / 'data').exists()


@pytest.mark.parametrize(
    ('options', 'told'),
    [
        (['--pictures', '320'], "--pictures: '320' is not a size such as 320x256"),
        (['--rounds', '0'], "--rounds: '0' is not an integer of at least 1"),
        (['--pictures', '64x31'], '--pictures: sides must have at least 32 pixels'),
        (['--out', 'none/x.json'], 'error: --out: none does not exist; make it first'),
    ],
)
def test_what_would_end_the_benchmark_late(options, told, call, capsys):
    with pytest.raises(SystemExit) as exit_:
        call('benchmark', *options)
    assert exit_.value.code == 2
    assert told in capsys.readouterr().err


def test_a_part_that_fails_takes_nothing_of_the_others_along(call, tmp_path, monkeypatch):
    def fails(task):
        raise ValueError('no port is free')

    monkeypatch.setitem(running.PARTS, 'ema', lambda task: {'ours': [2.0], 'mmdet': [3.0]})
    monkeypatch.setitem(running.PARTS, 'ranks', fails)
    out = tmp_path / 'times.json'
    options = '--parts', 'ema', 'ranks', '--pictures', '96x96', '--out', out
    with pytest.raises(ValueError, match='no port is free'):
        call('benchmark', ROOT / 'configs/mt_fasterrcnn_digits10pct.py', *options)
    assert json.loads(out.read_text())['seconds'] == {'ema': {'ours': [2.0], 'mmdet': [3.0]}}
