"""Which errors are told in one line, and which keep their traceback."""

import errno
import io
import logging
import os
import signal
from pathlib import Path

import pytest
from mmdet.registry import DATASETS, HOOKS, TRANSFORMS
from torch.utils.data import DataLoader

from ssod.errors import errors_in_one_line
from ssod.schedules import build_schedule, stepwise


class Images:
    """A data set whose only image raises."""

    def __init__(self, fail):
        self.fail = fail

    def __len__(self):
        return 1

    def __getitem__(self, index):
        self.fail()


def in_a_worker(fail):
    list(DataLoader(Images(fail), num_workers=1))


def wrong_name():
    build_schedule({'type': 'no'})


def not_a_number():
    int('x')


@pytest.mark.parametrize(
    ('mistake', 'message'),
    [
        # Raised in the package, whoever called it.
        (lambda: build_schedule({'type': 'no'}), "error: schedule: unknown type 'no'; known: "),
        # Raised elsewhere, but it names a file.
        (
            lambda: Path('no/such').read_text(),
            'error: no/such: No such file or directory; check the path',
        ),
        (
            lambda: Path(__file__).mkdir(exist_ok=True),
            f'error: {__file__}: File exists; it is not a folder, so give another name',
        ),
        (lambda: os.readlink('/'), 'error: /: Invalid argument'),
        # From a data worker an error comes as the text of its traceback.
        (lambda: in_a_worker(wrong_name), "error: schedule: unknown type 'no'; known: "),
        # One that was killed says nothing itself.
        (
            lambda: in_a_worker(lambda: os.kill(os.getpid(), signal.SIGKILL)),
            'error: a data worker was killed, most likely out of memory; lower train_data',
        ),
        # Names and settings of mmdet's, which are as clear as ours.
        (
            lambda: DATASETS.build(dict(type='CocoDatset')),
            "error: config: there is no dataset called 'CocoDatset'; did you mean 'CocoDataset'?",
        ),
        (
            lambda: HOOKS.build(dict(type='Xyz')),
            "error: config: there is no hook called 'Xyz'; import it with custom_imports",
        ),
        # The setting is one of the base class.
        (
            lambda: DATASETS.build(dict(type='CocoDataset', anfile='a.json')),
            "error: CocoDataset: unknown setting 'anfile'; did you mean 'ann_file'?",
        ),
        # Of the transform inside, not of the one that it is in.
        (
            lambda: TRANSFORMS.build(
                dict(type='RandomApply', transforms=[dict(type='RandomFlip', prop=1.0)])
            ),
            "error: RandomFlip: unknown setting 'prop'; did you mean 'prob'?",
        ),
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
        (lambda: in_a_worker(not_a_number), ValueError),
        # Of a class from a config, but about neither its name nor those of its settings.
        (lambda: TRANSFORMS.build(dict(type='RandomFlip', prob='x')), ValueError),
        (lambda: DATASETS.build(dict(type='ConcatDataset')), TypeError),
        # Our own code with a bug: its frame is ours, but it is no ValueError.
        (lambda: stepwise(1, 2), TypeError),
    ],
)
def test_a_bug_keeps_its_traceback(bug, error):
    with pytest.raises(error), errors_in_one_line():
        bug()


def test_the_environment_asks_for_tracebacks(monkeypatch):
    monkeypatch.setenv('SSOD_TRACEBACK', '1')
    with pytest.raises(ValueError, match='unknown type'), errors_in_one_line():
        build_schedule({'type': 'no'})


@pytest.mark.parametrize('code', [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_that_others_code_meets(capsys, code):
    class Full(io.StringIO):
        def write(self, text):
            raise OSError(code, os.strerror(code))

    with pytest.raises(SystemExit), errors_in_one_line():
        logging.StreamHandler(Full()).emit(logging.makeLogRecord({'msg': 'a line of a log'}))
        Full().write('a config')
    told = capsys.readouterr().err
    assert told == f'error: a file cannot be written: {os.strerror(code)}; free some space\n'


def interrupt():
    raise KeyboardInterrupt


def break_by_an_interruption():
    try:
        interrupt()
    except BaseException:
        # As mmengine's formatter of configs does.
        raise SyntaxError('Failed to format the config file') from None


@pytest.mark.parametrize('interruption', [interrupt, break_by_an_interruption])
def test_an_interruption_is_one_line(capsys, monkeypatch, interruption):
    for go_on, told in (('', 'interrupted\n'), ('go on', 'interrupted; go on\n')):
        with pytest.raises(SystemExit) as left, errors_in_one_line(go_on):
            interruption()
        assert left.value.code == 130
        assert capsys.readouterr().err == told
    monkeypatch.setenv('SSOD_TRACEBACK', '1')
    with pytest.raises((KeyboardInterrupt, SyntaxError)), errors_in_one_line():
        interruption()


def test_nothing_happens_without_an_error():
    with errors_in_one_line():
        done = True
    assert done
