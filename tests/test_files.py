"""Files are whole or not there."""

import errno
import fcntl
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ssod.files import alone_in, check_new, remove_unfinished, write_indented, write_whole


def test_a_file_is_written_and_replaced(tmp_path):
    path = tmp_path / 'x.json'
    write_whole(path, b'one')
    write_whole(path, b'two')
    assert path.read_bytes() == b'two'
    assert os.listdir(tmp_path) == ['x.json']


def test_a_place_that_cannot_be_written_to_is_named(tmp_path, monkeypatch):
    def refuse(path, *_, **__):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    monkeypatch.setattr('builtins.open', refuse)
    # So does a read-only file system, even for what is not there.
    monkeypatch.setattr(Path, 'unlink', refuse)
    with pytest.raises(OSError, match='Read-only') as told:
        write_whole(tmp_path / 'x.json', b'new')
    assert told.value.filename == str(tmp_path / 'x.json')


@pytest.mark.parametrize('step', ['fsync', 'replace'])
def test_a_failure_leaves_the_old_content(tmp_path, monkeypatch, step):
    path = tmp_path / 'x.json'
    write_whole(path, b'old')

    def fail(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(OSError, match=r'No space left on device: .*x\.json'):
        write_whole(path, b'new')
    assert path.read_bytes() == b'old'
    assert os.listdir(tmp_path) == ['x.json']


@pytest.mark.parametrize('code', [errno.EINVAL, errno.ENOTSUP])
def test_file_systems_that_cannot_flush_a_directory(tmp_path, monkeypatch, code):
    flush = os.fsync

    def files_alone(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(code, os.strerror(code))
        flush(descriptor)

    monkeypatch.setattr(os, 'fsync', files_alone)
    write_whole(tmp_path / 'x.json', b'new')
    assert (tmp_path / 'x.json').read_bytes() == b'new'


def test_an_interruption_leaves_the_old_content(tmp_path, monkeypatch):
    path = tmp_path / 'x.json'
    write_whole(path, b'old')

    def interrupt(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(os, 'replace', interrupt)
        write_whole(path, b'new')
    assert path.read_bytes() == b'old'
    assert os.listdir(tmp_path) == ['x.json']


def test_what_a_kill_left_is_removed(tmp_path):
    for name in ('.x.json.123.unfinished', '.x.unfinished.mp4', '.mine', 'x.json'):
        (tmp_path / name).touch()
    remove_unfinished(tmp_path)
    assert sorted(os.listdir(tmp_path)) == ['.mine', 'x.json']


@pytest.mark.parametrize('letter', ['x', 'ü', '\udcff', '😀'])
def test_the_longest_name_there_can_be(tmp_path, letter):
    name = letter * (250 // len(os.fsencode(letter)))
    write_whole(tmp_path / name, b'content')
    assert (tmp_path / name).read_bytes() == b'content'


def test_what_is_there_is_not_written_over(tmp_path):
    check_new(tmp_path / 'new', False, 'remove it')
    (tmp_path / 'old').touch()
    check_new(tmp_path / 'old', True, 'remove it')
    with pytest.raises(FileExistsError, match='old exists; remove it'):
        check_new(tmp_path / 'old', False, 'remove it')
    for overwrite in (False, True):
        with pytest.raises(ValueError, match='is a folder; give the name of a file'):
            check_new(tmp_path, overwrite, 'remove it')


def test_a_missing_directory_is_named(tmp_path):
    with pytest.raises(OSError, match='No such file or directory'):
        write_whole(tmp_path / 'none' / 'x.json', b'')


def test_json_for_people(tmp_path):
    write_indented(tmp_path / 'x.json', {'a': [1]})
    assert (tmp_path / 'x.json').read_text() == '{\n  "a": [\n    1\n  ]\n}\n'


def test_two_that_write_the_same_file_at_once(tmp_path):
    # As two machines do, whose processes may have the same number.
    path = tmp_path / 'x.json'
    contents = [bytes([value]) * 1000 for value in range(40)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda content: write_whole(path, content), contents))
    assert path.read_bytes() in contents
    assert os.listdir(tmp_path) == ['x.json']


def test_two_that_do_the_same_in_one_directory(tmp_path):
    place = tmp_path / 'new'
    with alone_in(place), alone_in(tmp_path):
        with pytest.raises(BlockingIOError, match='new is in use by another process; wait until'):
            alone_in(place).__enter__()
        assert (place / '.lock').exists()
    with alone_in(place):
        pass


def test_where_there_are_no_locks_nothing_is_refused(tmp_path, monkeypatch):
    def unsupported(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, 'flock', unsupported)
    with alone_in(tmp_path):
        pass
