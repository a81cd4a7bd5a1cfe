"""Unknown settings are refused with the nearest known name."""

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


def test_a_missing_setting_is_still_a_type_error():
    with pytest.raises(TypeError, match='threshold'):
        Example()


def test_check_keys_accepts_nothing_given():
    check_keys('owner', [], ['a'])
