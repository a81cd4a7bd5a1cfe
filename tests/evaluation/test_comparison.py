"""Tables of recipes, against hand-computed means."""

from ssod.evaluation.comparison import by_recipe, by_seed


def row(recipe, seed, start, supervised, teacher):
    scores = dict(start=start, supervised=supervised, student=teacher - 1, teacher=teacher)
    return dict(recipe=recipe, seed=seed, gain=round(teacher - supervised, 1), **scores)


def test_one_recipe():
    rows = [row('a_b', 0, 10.0, 20.0, 30.0), row('a_b', 3, 11.0, 21.0, 30.5)]
    assert by_seed(rows).splitlines() == [
        '| seed | start | supervised | student | teacher | gain |',
        '| --- | --- | --- | --- | --- | --- |',
        '| 0 | 10.0 | 20.0 | 29.0 | 30.0 | 10.0 |',
        '| 3 | 11.0 | 21.0 | 29.5 | 30.5 | 9.5 |',
        '| mean | 10.5 | 20.5 | 29.2 | 30.2 | 9.8 |',
    ]


def test_a_run_without_a_start():
    assert by_seed([row('a_b', 0, None, 20.0, 30.0)]).splitlines()[-1].startswith('| mean | - |')


def test_a_run_without_a_teacher():
    scores = dict(recipe='a_b', seed=0, start=None, supervised=20.0, student=21.0)
    rows = [scores | dict(teacher=None, gain=None)]
    assert by_seed(rows).splitlines()[-2:] == [
        '| 0 | - | 20.0 | 21.0 | - | - |',
        '| mean | - | 20.0 | 21.0 | - | - |',
    ]
    rows.append(row('a_b', 1, 10.0, 22.0, 30.0))
    assert by_recipe(rows).splitlines()[-1] == '| a_b | 0, 1 | 21.0 | 30.0 | -, 30.0 | 8.0 |'


def test_several_recipes():
    rows = [
        row('a_b', 0, 1.0, 20.0, 30.0),
        row('c_d', 0, 1.0, 10.0, 9.0),
        row('a_b', 1, 1.0, 22.0, 30.0),
    ]
    assert by_recipe(rows).splitlines()[2:] == [
        '| a_b | 0, 1 | 21.0 | 30.0 | 30.0, 30.0 | 9.0 |',
        '| c_d | 0 | 10.0 | 9.0 | 9.0 | -1.0 |',
    ]
