"""The soak test, short, and what it would find."""

import json
import runpy
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LEVEL = dict(main_MB=1000.0, worker_MB=500.0, files=16, worker_files=20)


def test_a_short_soak(bench):
    # Forty steps with validations and checkpoints; exit code 0 means that nothing grew.
    (bench.place / 'configs').symlink_to(ROOT / 'configs')
    tool = [sys.executable, ROOT / 'tools/soak.py', '--iters', '40']
    bench.run(*tool, '--work-dir', 'soak', log='soak.txt')
    rows = json.loads((bench.place / 'soak/soak.json').read_text())
    assert [row['iteration'] for row in rows] == list(range(2, 41, 2))
    assert all(row['main_MB'] > row['worker_MB'] > 50 for row in rows)
    assert all(row['files'] > 3 for row in rows)


@pytest.mark.parametrize(
    ('changes', 'expected'),
    [
        # Level all along; growth while all is used for the first time.
        ([{}] * 10, []),
        ([dict(main_MB=500.0, files=3)] + [{}] * 9, []),
        # Breathing is no leak, but 2 kB in each of 20,000 steps are: 2 MB from row to row.
        ([{}] * 9 + [dict(main_MB=1026.0)], []),
        ([dict(main_MB=1000.0 + 2 * i) for i in range(20)], ['main_MB']),
        ([dict(worker_MB=500.0 + 2 * i) for i in range(20)], ['worker_MB']),
        # A single file that stays open is one too many.
        ([{}] * 9 + [dict(files=17, worker_files=21)], ['files', 'worker_files']),
    ],
)
def test_growth(changes, expected):
    grown = runpy.run_path(str(ROOT / 'tools/soak.py'))['grown']
    assert grown([LEVEL | change for change in changes]) == expected
