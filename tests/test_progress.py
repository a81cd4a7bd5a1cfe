"""What a progress bar tells."""

from types import SimpleNamespace

import pytest

from ssod.progress import RateColumn


@pytest.mark.parametrize(
    ('rate', 'text'),
    [(None, ''), (0.01234, '0.0123/s'), (12.345, '12.3/s'), (1234.5, '1,234/s')],
)
def test_rate(rate, text):
    task = SimpleNamespace(finished_speed=None, speed=rate)
    assert RateColumn().render(task).plain == text
