"""Tables of times."""

from ssod.benchmarks.report import machine, memory_table, phase_table, table


def test_ratios_are_those_of_the_rounds():
    # The second round was slow for both: the ratios are 2, 2 and 3, not those of the medians.
    lines = table({'floor': [1.0, 4.0, 0.5], 'ours': [2.0, 8.0, 1.5]}).splitlines()
    assert lines[2] == '| floor | 1.00 s | 500 ms – 4.00 s | 1.00 |'
    assert lines[3] == '| ours | 2.00 s | 1.50 s – 8.00 s | 2.00 |'


def test_shares():
    lines = phase_table({'data': 0.001, 'student': 0.003}).splitlines()
    assert lines[2:] == ['| data | 1 ms | 25.0 % |', '| student | 3 ms | 75.0 % |']


def test_memory():
    lines = memory_table({'ours': 3 * 2**20, "mmdet's": 4 * 2**20}).splitlines()
    assert lines[2:] == ['| ours | 3 MiB | 0.75 |', "| mmdet's | 4 MiB | 1.00 |"]


def test_the_machine():
    found = machine()
    assert found['cores'] >= 1
    assert all(str(value) for value in found.values())
