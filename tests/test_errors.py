"""Which errors are told in one line, and which keep their traceback."""

from pathlib import Path

import pytest

from ssod.errors import errors_in_one_line
from ssod.schedules import build_schedule


@pytest.mark.parametrize(
    ('mistake', 'message'),
    [
        # Raised in the package, whoever called it.
        (lambda: build_schedule({'type': 'no'}), "error: schedule: unknown type 'no'; known: "),
        # Raised elsewhere, but it names a file.
        (lambda: Path('no/such').read_text(), "error: [Errno 2] No such file or directory: 'no/"),
    ],
)
def test_a_mistake_is_told_in_one_line(capsys, mistake, message):
    with pytest.raises(SystemExit) as left, errors_in_one_line():
        mistake()
    assert left.value.code == 1
    told = capsys.readouterr()
    assert told.out == ''
    assert told.err.startswith(message)
    assert len(told.err.splitlines()) == 1


@pytest.mark.parametrize(
    ('bug', 'error'),
    [
        # Raised by others, or by Python itself: nothing that a user did.
        (lambda: int('x'), ValueError),
        (lambda: {}['x'], KeyError),
        # Of an OSError that names no file, nothing can be mended.
        (lambda: (_ for _ in ()).throw(OSError('odd')), OSError),
        # Our own code with a bug: its frame is ours, but it is no ValueError.
        (lambda: build_schedule(None), TypeError),
    ],
)
def test_a_bug_keeps_its_traceback(bug, error):
    with pytest.raises(error), errors_in_one_line():
        bug()


def test_the_environment_asks_for_tracebacks(monkeypatch):
    monkeypatch.setenv('SSOD_TRACEBACK', '1')
    with pytest.raises(ValueError, match='unknown type'), errors_in_one_line():
        build_schedule({'type': 'no'})


def test_nothing_happens_without_an_error():
    with errors_in_one_line():
        done = True
    assert done
