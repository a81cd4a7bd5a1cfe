"""What a progress bar tells."""

from types import SimpleNamespace

import pytest

from ssod.progress import RateColumn, with_progress


@pytest.mark.parametrize(
    ('rate', 'text'),
    [(None, ''), (0.01234, '0.0123/s'), (12.345, '12.3/s'), (1234.5, '1,234/s')],
)
def test_rate(rate, text):
    task = SimpleNamespace(finished_speed=None, speed=rate)
    assert RateColumn().render(task).plain == text


@pytest.mark.parametrize(('rank', 'shows'), [(None, True), ('0', True), ('1', False)])
def test_one_of_several_processes_shows_a_bar(rank, shows, monkeypatch, capsys):
    monkeypatch.setenv('FORCE_COLOR', '1')  # As if stderr were a terminal.
    monkeypatch.delenv('LOCAL_RANK', raising=False)
    if rank is not None:
        monkeypatch.setenv('LOCAL_RANK', rank)
    assert list(with_progress([1, 2], 'counting')) == [1, 2]
    assert list(with_progress([], 'counting')) == []
    assert ('counting' in capsys.readouterr().err) == shows
    monkeypatch.delenv('FORCE_COLOR')
    assert list(with_progress([1, 2], 'counting')) == [1, 2]
    assert capsys.readouterr().err == ''  # Not even an empty line.
