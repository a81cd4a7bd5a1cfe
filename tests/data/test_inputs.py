"""Images and videos that a user names."""

import os

import pytest

from ssod.data.inputs import find_inputs


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Files of which none is opened."""
    for name in (
        'photos/b.png',
        'photos/sub/a.JPG',
        'photos/sub/.hidden.png',
        'photos/notes.txt',
        'photos/clip.avi',
        'more/b.png',
        'more/found/pictures/b.png',
        'one.jpeg',
        'CLIP.MOV',
        'empty/notes.txt',
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b'')
    monkeypatch.chdir(tmp_path)
    return tmp_path


# What each row proves:
@pytest.mark.parametrize(
    ('given', 'images', 'videos'),
    [
        (['photos'], ['b.png', 'sub/a.JPG'], []),  # sub-folders, any case; videos by name alone
        (['photos/'], ['b.png', 'sub/a.JPG'], []),  # however it is spelt
        (['photos/../one.jpeg'], ['one.jpeg'], []),
        (['one.jpeg'], ['one.jpeg'], []),  # a file is named within its folder
        (['CLIP.MOV'], [], ['CLIP.MOV']),
        # Files of one name stay apart, from the folder that all are in.
        (['photos', 'more'], ['photos/b.png', 'photos/sub/a.JPG', 'more/b.png'], []),
        (['photos/sub', 'one.jpeg', 'CLIP.MOV'], ['photos/sub/a.JPG', 'one.jpeg'], ['CLIP.MOV']),
        # Each file once.
        (['photos/b.png', 'photos', 'photos/b.png'], ['b.png', 'sub/a.JPG'], []),
        (['more'], ['b.png'], []),  # without what was written before
    ],
)
def test_what_is_found(place, given, images, videos):
    found = find_inputs(given, leave_out='more/found/pictures')
    assert [found.name(path) for path in found.images] == images
    assert [found.name(path) for path in found.videos] == videos
    assert all(path.is_file() for path in (*found.images, *found.videos))


def test_one_and_what_gives_them_once(place):
    assert find_inputs('one.jpeg', leave_out='out').images == [place / 'one.jpeg']
    found = find_inputs(place.glob('*.jpeg'), leave_out='out')
    assert found.images == [place / 'one.jpeg']
    with pytest.raises(ValueError, match='inputs: give a list of images'):
        find_inputs(place.glob('*.webp'), leave_out='out')


@pytest.mark.parametrize(
    ('given', 'error', 'told'),
    [
        ([], ValueError, 'inputs: give a list of images'),
        (['photo'], FileNotFoundError, '^photo does not exist; give images, folders of'),
        (['one.jpeg', 'empty'], FileNotFoundError, '^empty: no image in this folder or its sub'),
        (
            ['photos/notes.txt'],
            ValueError,
            r'notes\.txt is not named like an image or a video; its',
        ),
        (['more/found'], FileNotFoundError, '^more/found: the only images in this'),
        (['more/found/pictures/b.png'], ValueError, r'b\.png is where pictures are written;'),
    ],
)
def test_what_is_refused(place, given, error, told):
    with pytest.raises(error, match=told):
        find_inputs(given, leave_out='more/found/pictures')


def test_pictures_are_left_out_by_whatever_links(place):
    # The folder that is written to is reached through a link, or is one.
    (place / 'way').symlink_to('more')
    found = find_inputs(['way'], leave_out='more/found/pictures')
    assert [found.name(path) for path in found.images] == ['b.png']
    found = find_inputs(['more'], leave_out='way/found/pictures')
    assert [found.name(path) for path in found.images] == ['b.png']
    (place / 'pictures').symlink_to('photos')
    with pytest.raises(
        FileNotFoundError, match='^photos: the only images .* are in pictures, where'
    ):
        find_inputs(['photos'], leave_out='pictures')
    with pytest.raises(ValueError, match=r'photos/b\.png is where pictures are written;'):
        find_inputs(['photos/b.png'], leave_out='pictures')
    # A link in the folder leads out of it.
    (place / 'more/found/pictures/c.png').symlink_to(place / 'photos/b.png')
    found = find_inputs(['more'], leave_out='more/found/pictures')
    assert [found.name(path) for path in found.images] == ['b.png']


def test_folders_that_cannot_be_looked_into_are_told(place, monkeypatch):
    # Whoever runs the tests may be allowed to look into everything.
    scandir = os.scandir

    def refuse(path):
        if str(path).endswith('sub'):
            raise PermissionError(13, 'Permission denied', str(path))
        return scandir(path)

    monkeypatch.setattr(os, 'scandir', refuse)
    found = find_inputs(['photos'], leave_out='out')
    assert found.left_out == [
        f'{place}/photos/sub cannot be read; check its permissions',
        f'{place}/photos/clip.avi is a video in a folder; name videos one by one',
    ]
    assert [found.name(path) for path in found.images] == ['b.png']


def test_what_may_be_meant_is_told(place):
    for name in ('x.avif', 'sub/y.jfif', 'labels.json', 'second.MP4'):
        (place / 'photos' / name).touch()
    (place / 'photos/found/pictures').mkdir(parents=True)
    (place / 'photos/found/pictures/clip.mp4').touch()
    found = find_inputs(['photos', 'photos/second.MP4'], leave_out='photos/found/pictures')
    assert found.left_out == [
        f'{place}/photos/sub/y.jfif is not named like an image (and 1 more); names must end with '
        f'.bmp, .jpeg, .jpg, .png, .tif, .tiff, .webp',
        f'{place}/photos/clip.avi is a video in a folder; name videos one by one',
    ]
    found = find_inputs(['photos'], leave_out='photos/found/pictures')
    assert found.left_out[1].startswith(f'{place}/photos/clip.avi is a video in a folder (and 1 mo')


def test_folders_are_resolved_once(place, monkeypatch):
    for number in range(50):
        (place / 'photos/sub' / f'{number}.png').write_bytes(b'')
    realpath, resolved = os.path.realpath, []
    monkeypatch.setattr(os.path, 'realpath', lambda path: resolved.append(path) or realpath(path))
    assert len(find_inputs(['photos'], leave_out='out').images) == 52
    assert len(resolved) == 5  # Two folders, listed and looked up again, and what is left out.
