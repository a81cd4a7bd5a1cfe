"""What a call of predict leaves, and what it finds from earlier calls, finished or not."""

import json
from unittest.mock import patch

import pytest

from ssod.prediction_folder import PredictionFolder


def content(*names):
    return {'images': [{'file_name': name} for name in names], 'annotations': [], 'categories': []}


def draw(folder, *names):
    for name in names:
        (folder.pictures / name).parent.mkdir(parents=True, exist_ok=True)
        (folder.pictures / name).write_text('drawn')


def call(root, *names, found=None):
    """A whole call; ``found`` are the images in the JSON, where these are a video's frames."""
    folder = PredictionFolder(root)
    folder.begin(names)
    draw(folder, *names)
    folder.finish(content(*(found or names)))


def pictures(root):
    files = (root / 'pictures').rglob('*')
    return sorted(p.relative_to(root / 'pictures').as_posix() for p in files if p.is_file())


def test_a_finished_call(tmp_path):
    call(tmp_path / 'out', 'a.png', 'sub/b.png')
    assert pictures(tmp_path / 'out') == ['a.png', 'sub/b.png']
    assert {p.name for p in (tmp_path / 'out').iterdir()} == {'pictures', 'predictions.json'}
    with pytest.raises(FileExistsError, match=r'predictions\.json exists; remove it, or pass --ov'):
        PredictionFolder(tmp_path / 'out').check_nothing_is_lost()


def test_pictures_of_an_interrupted_call_are_known_and_removed(tmp_path):
    folder = PredictionFolder(tmp_path)
    folder.begin(['a.png', 'sub/clip.mp4', 'c.png'])
    draw(folder, 'a.png', 'sub/.clip.mp4.12ab.unfinished.mp4')
    # Interrupted once more, with other inputs.
    folder = PredictionFolder(tmp_path)
    folder.check_nothing_is_lost()
    folder.begin(['b.png'])
    draw(folder, 'b.png', 'sub/own.png')
    PredictionFolder(tmp_path).check_nothing_is_lost()
    call(tmp_path, 'b.png', 'd.png')
    assert pictures(tmp_path) == ['b.png', 'd.png', 'sub/own.png']
    assert json.loads((tmp_path / 'predictions.json').read_text()) == content('b.png', 'd.png')


def test_a_call_that_is_interrupted_while_it_ends(tmp_path):
    with (
        patch('ssod.prediction_folder.PredictionFolder._inside', side_effect=KeyboardInterrupt),
        pytest.raises(KeyboardInterrupt),
    ):
        call(tmp_path, 'a.png')
    PredictionFolder(tmp_path).check_nothing_is_lost()
    call(tmp_path, 'b.png')
    assert pictures(tmp_path) == ['b.png']


def test_a_picture_of_the_user_is_not_removed_for_a_call_that_never_drew_it(tmp_path):
    draw(PredictionFolder(tmp_path), 'own.png')
    PredictionFolder(tmp_path).begin(['own.png'])
    call(tmp_path, 'a.png')
    assert pictures(tmp_path) == ['a.png', 'own.png']


def test_old_videos_are_removed_by_their_frames(tmp_path):
    call(tmp_path, 'clip.avi.mp4', found=['clip.avi/000000'])
    call(tmp_path, 'a.png')
    assert pictures(tmp_path) == ['a.png']


@pytest.mark.parametrize('earlier', [[], ['a.png']])
def test_a_call_that_can_read_nothing_leaves_the_folder_as_it_was(tmp_path, earlier):
    root = tmp_path / 'out'
    if earlier:
        folder = PredictionFolder(root)
        folder.begin(earlier)
        draw(folder, *earlier)
    folder = PredictionFolder(root)
    folder.begin(['b.png'])
    folder.give_up()
    assert root.exists() == bool(earlier)
    PredictionFolder(root).check_nothing_is_lost()
    call(root, 'b.png')
    assert pictures(root) == ['b.png']


@pytest.mark.parametrize('noted', [b'', b'{"a": 1}', b'7', b'\xff'])
def test_a_note_of_another_kind_removes_nothing(tmp_path, noted):
    draw(PredictionFolder(tmp_path), 'a.png')
    (tmp_path / '.predictions.json.begun').write_bytes(noted)
    call(tmp_path, 'b.png')
    assert pictures(tmp_path) == ['a.png', 'b.png']
