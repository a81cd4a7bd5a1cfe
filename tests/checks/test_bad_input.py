"""Bad input, and the one line that each gets: before training where it can be known.

The cases are in ``bad_annotations.py``, ``bad_images.py`` and ``bad_settings.py``.
"""

import os

import pytest

from ssod.checks import before_run
from ssod.checks.before_run import check_data_of
from ssod.checks.settings import check_settings_of
from ssod.errors import errors_in_one_line

from .bad_annotations import BAD_ANNOTATIONS
from .bad_images import BAD_IMAGES
from .bad_settings import BAD_SETTINGS

# Of each case: the damage, when it is told, and how the line begins; paths are given from the
# folder of the data.
# `json`: told before training, and by tools/check_data.py. `image`: told by the latter, for
# nothing else opens images beforehand. `build`: told when the run is put together.
TABLE = [*BAD_ANNOTATIONS, *BAD_IMAGES, *BAD_SETTINGS]


@pytest.fixture
def world(world, monkeypatch):
    """The data set, from whose folder paths begin."""
    world.forbidden = []
    scandir = os.scandir

    def refuse(path='.'):
        if str(path) in world.forbidden:
            raise PermissionError(13, 'Permission denied', str(path))
        return scandir(path)

    monkeypatch.setattr(os, 'scandir', refuse)
    monkeypatch.chdir(world.root)
    return world


def begins(line, message, root):
    return line.replace(f'{root}/', '').replace(str(root), '').startswith(message)


def test_nothing_is_wrong_with_the_data_set_itself(world):
    # Or else each row of the table might be right by chance.
    world.write()
    assert world.told() == []
    check_data_of(world.cfg)
    world.use_folder()
    assert world.told() == []


def test_there_are_enough_cases():
    assert len(TABLE) >= 60
    assert len({message for _, _, message in TABLE}) >= 60


# Pillow warns of huge images as well.
@pytest.mark.filterwarnings('ignore::PIL.Image.DecompressionBombWarning')
@pytest.mark.parametrize(('damage', 'when', 'message'), TABLE, ids=[m[:60] for *_, m in TABLE])
def test_bad_input_gets_one_line(world, damage, when, message, capsys, monkeypatch):
    if when == 'build':
        assert_stops(lambda: damage(world), message, world.root, capsys)
        return
    damage(world)
    world.write()
    try:
        lines = world.told()
    except ValueError as error:
        lines = [f'error: {error}']
    told = [line for line in lines if begins(line, message, world.root)]
    assert len(told) == 1, '\n'.join(lines)
    # One line, with a remedy, that any terminal shows.
    assert told[0].isprintable()
    assert '; ' in told[0]
    if when == 'image':
        return
    logged = []
    # The logger would write to the stream of whichever test first used it, which may be closed.
    monkeypatch.setattr(before_run, 'print_log', lambda line, *_: logged.append(line))
    if message.startswith('error'):
        assert_stops(lambda: start(world.cfg), message, world.root, capsys)
    else:
        start(world.cfg)
        assert told[0].removeprefix('warning: ') in logged


def start(cfg):
    """What a run does before it trains."""
    check_settings_of(cfg)
    check_data_of(cfg)


def assert_stops(run, message, root, capsys):
    with pytest.raises(SystemExit) as left, errors_in_one_line():
        run()
    assert left.value.code == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert begins(line, message, root), line
