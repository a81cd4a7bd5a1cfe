"""Times taken in turns."""

import pytest

from ssod.benchmarks.timing import interleave, timing


def test_one_measurement():
    assert vars(timing([2.0])) == {'median': 2.0, 'low': 2.0, 'high': 2.0}


def test_spread():
    found = timing([float(i) for i in range(11)][::-1])
    assert (found.median, found.low, found.high) == (5.0, 1.0, 9.0)


def test_turns():
    """A clock that only calls move: a takes 1 second, b 10, and the first turn 100 more."""
    now, order = [0.0], []

    def call(name, seconds):
        def run():
            now[0] += seconds + (100 if len(order) < 4 else 0)
            order.append(name)

        return run

    calls = {'a': call('a', 1), 'b': call('b', 10)}
    found = interleave(calls, rounds=2, per_round=2, clock=lambda: now[0])
    # The first turn does not count, and none is always the first of its round.
    assert found == {'a': [1.0, 1.0], 'b': [10.0, 10.0]}
    assert ''.join(order) == 'aabb' + 'bbaa' + 'aabb'


@pytest.mark.parametrize('calls', [{}, {'a': lambda: None}])
def test_few(calls):
    assert interleave(calls, rounds=1).keys() == calls.keys()
