"""Unknown settings are refused with the nearest known name."""

import numpy as np
import pytest

from ssod.strict import check_keys, strict_settings


@strict_settings
class Example:
    def __init__(self, threshold, burn_in=0):
        self.sum = threshold + burn_in


def test_known_settings_pass():
    assert Example(threshold=1, burn_in=2).sum == 3
    assert Example(1).sum == 1


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        # A slip of the finger gets the right name.
        ({'treshold': 1}, "Example: unknown setting 'treshold'; did you mean 'threshold'?"),
        ({'threshold': 1, 'burnin': 3}, "did you mean 'burn_in'?"),
        # What resembles nothing gets the list.
        ({'xyz': 1}, "unknown setting 'xyz'; known: threshold, burn_in"),
    ],
)
def test_unknown_settings_are_refused(settings, message):
    with pytest.raises(ValueError) as error:
        Example(**settings)
    assert message in str(error.value)


@strict_settings
class Numbers:
    def __init__(
        self, count: int = 1, share: float = 0.5, most: int | None = None, draw: bool = True
    ):
        pass


@pytest.mark.parametrize(
    'settings', [dict(count=2, share=1, most=None, draw=False), dict(share=np.float64(1), most=3)]
)
def test_numbers_of_the_right_kind_pass(settings):
    assert Numbers(**settings)


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(count=100.0), 'Numbers: count is 100.0, but must be a whole number'),
        (dict(count=True), 'Numbers: count is True, but must be a whole number'),
        (dict(count=None), 'Numbers: count is None, but must be a whole number'),
        (dict(share='0.5'), "Numbers: share is '0.5', but must be a number"),
        (dict(share=False), 'Numbers: share is False, but must be a number'),
        (dict(most=1e2), 'Numbers: most is 100.0, but must be a whole number or None'),
        (dict(draw='no'), "Numbers: draw is 'no', but must be True or False"),
        (dict(draw=1), 'Numbers: draw is 1, but must be True or False'),
    ],
)
def test_numbers_of_another_kind_are_refused(settings, message):
    with pytest.raises(ValueError) as error:
        Numbers(**settings)
    assert str(error.value) == message


def test_a_missing_setting_is_still_a_type_error():
    with pytest.raises(TypeError, match='threshold'):
        Example()


def test_check_keys_accepts_nothing_given():
    check_keys('owner', [], ['a'])
