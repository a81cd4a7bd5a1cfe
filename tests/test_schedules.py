"""Schedules, against values computed by hand."""

import math

import pytest

from ssod.schedules import build_schedule, values_of, weight_schedule


@pytest.mark.parametrize(
    ('setting', 'values'),
    [
        # A number is itself at every step.
        (0.7, {0: 0.7, 1000: 0.7}),
        ({'type': 'constant', 'value': 2}, {0: 2, 9: 2}),
        # A quarter of the way is a quarter of the value; it stays at the end.
        ({'type': 'linear', 'end': 4.0, 'steps': 100}, {0: 0, 25: 1.0, 100: 4.0, 500: 4.0}),
        ({'type': 'linear', 'start': 1.0, 'end': 0.5, 'steps': 10}, {0: 1.0, 5: 0.75, 10: 0.5}),
        # The paper's ramp: exp(-5) at the start, exp(-1.25) half-way, 1 at the end.
        (
            {'type': 'sigmoid', 'end': 1.0, 'steps': 10},
            {0: math.exp(-5), 5: math.exp(-1.25), 10: 1.0, 11: 1.0},
        ),
        (
            {'type': 'cosine', 'start': 1.0, 'end': 0.0, 'steps': 4},
            {0: 1.0, 2: 0.5, 4: 0.0, 9: 0.0},
        ),
        # The two phases of the paper: the second begins at its milestone.
        (
            {'type': 'stepwise', 'values': [0.99, 0.999], 'milestones': [100]},
            {0: 0.99, 99: 0.99, 100: 0.999},
        ),
        # 1 - 1/(t+1) until the decay is reached: 0, 1/2, 2/3, ..., 0.99 from t = 99 on.
        ({'type': 'warm_up', 'decay': 0.99}, {0: 0.0, 1: 0.5, 2: 2 / 3, 99: 0.99, 500: 0.99}),
        # 1 - 4/(t+4): half-way at t = 4, the decay from t = 19,996 on.
        (
            {'type': 'warm_up', 'decay': 0.9998, 'gamma': 4},
            {0: 0.0, 4: 0.5, 12: 0.75, 19995: 1 - 4 / 19999, 19997: 0.9998, 10**6: 0.9998},
        ),
        # A warm-up towards a schedule is the lower of the two.
        (
            {
                'type': 'warm_up',
                'decay': {'type': 'stepwise', 'values': [0.5, 0.9], 'milestones': [4]},
            },
            {0: 0.0, 1: 0.5, 3: 0.5, 4: 0.8, 9: 0.9, 20: 0.9},
        ),
        # No steps at all: the end at once.
        ({'type': 'linear', 'end': 3.0, 'steps': 0}, {0: 3.0}),
    ],
)
def test_values(setting, values):
    schedule = build_schedule(setting)
    assert {step: pytest.approx(schedule(step)) for step in values} == values


@pytest.mark.parametrize(
    ('setting', 'message'),
    [
        ({'type': 'sigmoyd', 'end': 1}, "unknown type 'sigmoyd'"),
        ({'end': 1}, 'unknown type None'),
        ({'type': 'linear', 'end': 1, 'stepz': 3}, "unknown setting 'stepz'; did you mean 'steps'"),
        ({'type': 'linear', 'end': 1}, 'it takes end, steps, start'),
        ({'type': 'warm_up', 'decay': 0.9, 'gamma': 0}, 'gamma is 0, but must be above 0'),
        ({'type': 'stepwise', 'values': [1], 'milestones': [5]}, '1 milestones need 2 values'),
        ({'type': 'stepwise', 'values': [1, 2, 3], 'milestones': [5, 5]}, 'must increase'),
        ('0.7', "^schedule: '0.7' is neither a number nor a dict; give a number, or"),
        (None, 'schedule: None is neither a number nor a dict'),
        (
            {'type': 'linear', 'end': 1, 'steps': '4000'},
            "^schedule 'linear': steps is '4000', but must be a number$",
        ),
        ({'type': 'warm_up', 'decay': '0.9'}, "schedule: '0.9' is neither"),
        ({'type': 'warm_up', 'decay': 0.9, 'gamma': None}, 'gamma is None, but must be a number'),
        (
            {'type': 'stepwise', 'values': [0.9, '1'], 'milestones': [5]},
            r"'stepwise': values is \[0.9, '1'\], but must be a list of numbers",
        ),
        ({'type': 'stepwise', 'values': [1, 2], 'milestones': 5}, 'milestones is 5, but must be a'),
    ],
)
def test_refuses(setting, message):
    with pytest.raises(ValueError, match=message):
        build_schedule(setting)


@pytest.mark.parametrize('setting', [-1, float('nan'), {'type': 'linear', 'end': -1.0, 'steps': 9}])
def test_a_loss_does_not_count_less_than_nothing(setting):
    with pytest.raises(ValueError, match='^pseudo_weight is (-1|nan), but .* must be at least 0$'):
        weight_schedule('pseudo_weight', setting)


def test_the_weight_of_a_loss():
    assert weight_schedule('pseudo_weight', {'type': 'linear', 'end': 4, 'steps': 4})(3) == 3


@pytest.mark.parametrize(
    ('setting', 'values'),
    [
        (0.7, [0.7, 0.7]),
        ({'type': 'linear', 'start': -3, 'end': 1.0, 'steps': 10}, [-3, 1.0]),
        ({'type': 'stepwise', 'values': [0.9, 1.5, 0.8], 'milestones': [4, 9]}, [0.9, 1.5, 0.8]),
        ({'type': 'warm_up', 'decay': {'type': 'constant', 'value': 0.9}}, [0.9, 0.9]),
    ],
)
def test_between_which_values_it_is(setting, values):
    assert values_of(setting) == values
