"""What results say together."""

import json
from dataclasses import replace

import pytest

from ssod.studies.plan import read_study
from ssod.studies.results import Result, Results, half_width, lead_table, rows_of, table


def result(method, seed, student, teacher=None, data='cells', percent=50, settings='0'):
    teacher = student if teacher is None else teacher
    return Result(data, percent, method, seed, settings, student, teacher, 0.0, 0.0, 60.0)


def test_an_interval():
    assert half_width([]) is None
    assert half_width([3.0]) is None
    # Two that are alike would have one without any width.
    assert half_width([3.0, 3.0]) is None
    assert half_width([2.0, 2.0, 2.0]) == 0
    # Deviation 1; t of 2 degrees of freedom is 4.303, and 4.303 / sqrt(3) = 2.484.
    assert half_width([1.0, 2.0, 3.0]) == pytest.approx(2.484, abs=1e-3)


def test_rows(study_file):
    study = read_study(study_file)
    assert rows_of(study, []) == []
    rows = rows_of(
        study,
        [
            result('teacher', 1, 22.0, 25.0),
            result('teacher', 2, 20.0, 21.0),
            result('supervised', 1, 20.0),
            # Its baseline has not been run.
            result('eager', 1, 9.0, data='scenes', percent=25),
            result('supervised', 2, 22.0),
        ],
    )
    # In the study's order, without what has not been run.
    assert [(r.data, r.percent, r.method) for r in rows] == [
        ('cells', 50, 'supervised'),
        ('cells', 50, 'teacher'),
        ('scenes', 25, 'eager'),
    ]
    # Teacher over the supervised student of the same seed: 25 - 20, 21 - 22.
    assert rows[1].gains == (5.0, -1.0)
    assert rows[1].gain == 2.0
    assert rows[2].gain is None


def test_runs_of_different_starts_are_not_compared(study_file):
    study = read_study(study_file)
    runs = [result('supervised', 1, 20.0), result('teacher', 1, 20.0, 22.0)]
    same = [replace(run, begun='abc') for run in runs]
    # Of older lines it is not known.
    for found in (same, [runs[0], same[1]], [*same, replace(runs[0], seed=2, begun='def')]):
        assert rows_of(study, found)[1].gains == (2.0,)
    with pytest.raises(
        ValueError, match=r'cells, 50 %, seed 1: supervised began .*abc, but teacher w'
    ):
        rows_of(study, [same[0], replace(runs[1], begun='def')])
    # A start begins with other weights than what starts from it.
    rows_of(study, [*same, replace(runs[0], method='start', begun='def')])


def test_the_table(study_file):
    study = read_study(study_file)
    found = [
        result('supervised', 1, 20.0),
        result('supervised', 2, 22.0),
        result('teacher', 1, 22.0, 25.0),
        result('teacher', 2, 20.0, 23.0),
        result('supervised', 1, 10.0, percent=25),
        result('teacher', 1, 9.0, 8.0, percent=25),
    ]
    lines = table(rows_of(study, found), 'supervised').splitlines()
    assert '| cells | 50 % | supervised | 2 | 21.0 ± 1.4 | 21.0 ± 1.4 |  |  |' in lines
    # Gains 5 and 1.
    assert '| cells | 50 % | teacher | 2 | 21.0 ± 1.4 | 24.0 ± 1.4 | +3.0 | - |' in lines
    assert '| cells | 25 % | teacher | 1 | 9.0 | 8.0 | -2.0 | - |' in lines
    # Over both budgets: (3 - 2) / 2, and one of them worse.
    assert lines[-1] == '| teacher | +0.5 | 2 | 1 |'
    # Gains 5, 1 and 3, of a deviation of 2; t of 2 degrees of freedom is 4.303: 3 ± 4.303 × 2 / √3.
    found += [result('supervised', 3, 21.0), result('teacher', 3, 21.0, 24.0)]
    lines = table(rows_of(study, found), 'supervised').splitlines()
    row = '| cells | 50 % | teacher | 3 | 21.0 ± 1.0 | 24.0 ± 1.0 | +3.0 | -2.0 to +8.0 |'
    assert row in lines


def test_no_gain_is_not_worse(study_file):
    study = read_study(study_file)
    # 0.1 and -0.1, whose sum as floating-point numbers is a little below 0.
    scores = {'supervised': (10.0, 20.1), 'teacher': (10.1, 20.0), 'eager': (10.0, 20.1)}
    found = [
        result(m, i, score) for m, of_seeds in scores.items() for i, score in enumerate(of_seeds)
    ]
    assert rows_of(study, found)[1].gain < 0
    lines = table(rows_of(study, found), 'supervised').splitlines()
    assert '| cells | 50 % | teacher | 2 | 15.1 ± 7.0 | 15.1 ± 7.0 | +0.0 | - |' in lines
    assert '| teacher | +0.0 | 1 | 0 |' in lines
    assert lead_table(study, found).splitlines()[-1] == '| eager | cells | +0.0 | 2 | 1 |'


def test_leads(study_file):
    study = read_study(study_file)
    found = [
        result('supervised', 1, 20.0),
        result('teacher', 1, 22.0, 25.0),
        result('teacher', 2, 20.0, 23.0),
        result('teacher', 1, 30.0, percent=25),
    ]
    # Nothing to be ahead of.
    assert lead_table(study, found) == ''
    found.append(result('eager', 1, 30.0, 24.0))
    assert lead_table(study, found).splitlines() == [
        '| | data | lead of teacher | runs of both | of these ahead |',
        '| --- | --- | --- | --- | --- |',
        '| eager | cells | +1.0 | 1 | 1 |',
    ]
    # Of the same data, budget and seed: 25 - 24 and 23 - 26, which are one budget, and 30 - 27.
    found += [result('eager', 2, 26.0), result('eager', 1, 27.0, percent=25)]
    found += [result('eager', 3, 99.0)]
    assert lead_table(study, found).splitlines()[2:] == ['| eager | cells | +1.0 | 3 | 2 |']
    # And 10 - 3: budgets are what all is the mean of.
    found += [result(m, 1, s, data='scenes') for m, s in (('teacher', 10.0), ('eager', 3.0))]
    assert lead_table(study, found).splitlines()[2:] == [
        '| eager | cells | +1.0 | 3 | 2 |',
        '| eager | scenes | +7.0 | 1 | 1 |',
        '| eager | all | +3.0 | 4 | 3 |',
    ]


def test_results_stay(study_file, tmp_path):
    run = read_study(study_file).runs()[0]
    path = tmp_path / 'results.jsonl'
    results = Results(path)
    assert results.find(run, 'a') is None
    results.add(result('supervised', 1, 20.0, settings='a'))
    again = Results(path)
    assert again.find(run, 'a').student == 20.0
    # Other settings are another run.
    assert again.find(run, 'b') is None
    again.add(result('supervised', 1, 30.0, settings='b'))
    assert [json.loads(line)['student'] for line in path.read_text().splitlines()] == [20.0, 30.0]


def test_a_last_line_that_was_not_written_to_its_end(study_file, tmp_path):
    path = tmp_path / 'results.jsonl'
    first, second, third = (result('supervised', seed, 20.0) for seed in (1, 2, 3))
    Results(path).add(first)
    whole = path.read_text()
    # Torn, it does not count, and the next one takes its place; an empty line is none.
    path.write_text(f'{whole}\n{whole[:30]}')
    results = Results(path)
    results.add(second)
    lines = path.read_text().splitlines()
    assert [json.loads(line)['seed'] for line in lines if line] == [1, 2]
    # Whole, it does.
    path.write_text(path.read_text().rstrip('\n'))
    Results(path).add(third)
    runs = [replace(read_study(study_file).runs()[0], percent=50, seed=seed) for seed in (1, 2, 3)]
    assert all(Results(path).find(run, '0') for run in runs)


def test_two_results_of_one_run_are_refused(tmp_path):
    path = tmp_path / 'results.jsonl'
    Results(path).add(result('supervised', 1, 20.0))
    line = path.read_text()
    path.write_text(line * 2)
    Results(path)  # Copied twice is the same.
    path.write_text(line + line.replace('20.0', '21.0'))
    with pytest.raises(ValueError, match=r'line 2: a second, different result of the same run'):
        Results(path)


def test_a_torn_line_is_named(tmp_path):
    path = tmp_path / 'results.jsonl'
    path.write_text('{"data": "cells"\n')
    with pytest.raises(ValueError, match=r'results.jsonl, line 1: not a result \(.*remove it'):
        Results(path)
