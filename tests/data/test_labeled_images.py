"""Labelled images, whatever format they were labelled in."""

from pathlib import Path

import pytest
from PIL import Image, PngImagePlugin

from ssod.data.labeled_images import LabeledImage, image_size, leave_out_empty, read_lines
from ssod.data.load_image import LoadImage, orientation


@pytest.mark.parametrize('suffix', ['jpg', 'png', 'tif', 'webp'])
@pytest.mark.parametrize('turn', [1, 3, 6, 8])
def test_the_size_is_that_of_the_loaded_image(tmp_path, suffix, turn):
    # By itself and by Pillow, a TIFF's size would be turned twice.
    path = tmp_path / f'a.{suffix}'
    image = Image.new('RGB', (40, 30))
    exif = image.getexif()
    exif[0x112] = turn
    image.save(path, exif=exif)
    height, width = LoadImage().transform({'img_path': str(path)})['ori_shape']
    assert image_size(path) == (width, height)


def text(name, content):
    texts = PngImagePlugin.PngInfo()
    texts.add_itxt(name, content)
    return texts


def turned():
    exif = Image.Exif()
    exif[0x112] = 6
    return exif


XMP = '<rdf:Description tiff:Orientation="6"/>'
PROFILE = f'\nexif\n32\n{turned().tobytes().hex()}\n'


# Pillow turns by each of them, OpenCV does not.
@pytest.mark.parametrize(
    ('name', 'options'),
    [
        ('a.jpg', {'xmp': XMP.encode()}),
        ('a.png', {'pnginfo': text('XML:com.adobe.xmp', XMP)}),
        ('a.png', {'pnginfo': text('Raw profile type exif', PROFILE)}),
        ('a.tif', {'tiffinfo': {700: XMP.encode()}}),
    ],
)
def test_metadata_beside_exif_turn_nothing(tmp_path, name, options):
    path = tmp_path / name
    Image.new('RGB', (40, 30)).save(path, **options)
    assert_size(path, (40, 30), turn=1)


@pytest.mark.parametrize(
    ('kind', 'options', 'size', 'turn'),
    [
        (b'iTXt', {'pnginfo': text('XML:com.adobe.xmp', XMP)}, (40, 30), 1),
        (b'eXIf', {'exif': turned()}, (30, 40), 6),
    ],
)
def test_metadata_behind_the_pixels_of_a_png(tmp_path, kind, options, size, turn):
    path = tmp_path / 'a.png'
    Image.new('RGB', (40, 30)).save(path, **options)
    move_behind_the_pixels(kind, path)
    assert_size(path, size, turn)


def move_behind_the_pixels(kind, path):
    png = path.read_bytes()
    # A chunk begins four bytes before its kind.
    start, pixels, end = (png.index(name) - 4 for name in (kind, b'IDAT', b'IEND'))
    path.write_bytes(png[:start] + png[pixels:end] + png[start:pixels] + png[end:])


@pytest.mark.parametrize(('name', 'behind'), [('a.jpg', False), ('a.png', False), ('a.png', True)])
def test_damaged_exif_turns_nothing(tmp_path, name, behind):
    path = tmp_path / name
    Image.new('RGB', (40, 30)).save(path, exif=b'Exif\0\0damaged')
    if behind:
        move_behind_the_pixels(b'eXIf', path)
    assert_size(path, (40, 30), turn=1)


@pytest.mark.parametrize(('suffix', 'left'), [('png', 20), ('png', 45), ('tif', 60)])
def test_what_cannot_be_opened(tmp_path, suffix, left):
    path = tmp_path / f'a.{suffix}'
    Image.new('RGB', (40, 30)).save(path)
    path.write_bytes(path.read_bytes()[:left])
    with pytest.raises(
        ValueError, match=rf'a\.{suffix} cannot be opened as an image \(.*; save it'
    ):
        image_size(path)


def test_what_only_opencv_opens(tmp_path):
    # Image generators store their settings as text, longer than Pillow reads.
    texts = PngImagePlugin.PngInfo()
    texts.add_text('workflow', 'x' * 2_000_000, zip=True)
    Image.new('RGB', (40, 30)).save(tmp_path / 'a.png', pnginfo=texts)
    assert_size(tmp_path / 'a.png', (40, 30), turn=1)


def assert_size(path, size, turn):
    assert LoadImage().transform({'img_path': str(path)})['ori_shape'] == size[::-1]
    assert image_size(path) == size
    assert orientation(path.read_bytes()) == turn


@pytest.mark.parametrize(
    ('content', 'lines'),
    [
        (b'', []),
        (b'a', ['a']),
        (b'\xef\xbb\xbfa\r\n\n\xc3\xa4\n', ['a', '', '\u00e4']),
        # Unicode ends lines with this character, and files do not.
        (b'a\xe2\x80\xa8b', ['a\u2028b']),
    ],
)
def test_lines(tmp_path, content, lines):
    (tmp_path / 'a.txt').write_bytes(content)
    assert read_lines(tmp_path / 'a.txt') == lines


def test_lines_in_another_encoding(tmp_path):
    (tmp_path / 'a.txt').write_bytes('b\u00e4'.encode('latin-1'))
    with pytest.raises(ValueError, match=r'a.txt is not in UTF-8: .* at byte 1; save it again'):
        read_lines(tmp_path / 'a.txt')


def test_empty_splits():
    some = [LabeledImage(Path('a.jpg'), (4, 3), [])]
    assert leave_out_empty({}, 'x') == ({}, [])
    assert leave_out_empty({'train': some}, 'x') == ({'train': some}, [])
    assert leave_out_empty({'train': some, 'val': [], 'test': []}, 'x') == (
        {'train': some},
        ['val has no image, left out', 'test has no image, left out'],
    )
    with pytest.raises(ValueError, match='^x: train has no image; add some$'):
        leave_out_empty({'train': [], 'val': some}, 'x')
