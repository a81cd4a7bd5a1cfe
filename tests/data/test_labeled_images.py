"""Labelled images, whatever format they were labelled in."""

from pathlib import Path

import pytest
from PIL import Image

from ssod.data.labeled_images import LabeledImage, image_size, leave_out_empty, read_lines
from ssod.data.load_image import LoadImage


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


@pytest.mark.parametrize(
    ('content', 'lines'),
    [(b'', []), (b'a', ['a']), (b'\xef\xbb\xbfa\r\n\n\xc3\xa4', ['a', '', '\u00e4'])],
)
def test_lines(tmp_path, content, lines):
    (tmp_path / 'a.txt').write_bytes(content)
    assert read_lines(tmp_path / 'a.txt') == lines


def test_lines_in_another_encoding(tmp_path):
    (tmp_path / 'a.txt').write_bytes('b\u00e4'.encode('latin-1'))
    with pytest.raises(ValueError, match=r'a.txt is not in UTF-8: .* at byte 1; save it anew'):
        read_lines(tmp_path / 'a.txt')


def test_empty_splits():
    some = [LabeledImage(Path('a.jpg'), (4, 3), [])]
    assert leave_out_empty({}, 'x') == ({}, [])
    assert leave_out_empty({'train': some}, 'x') == ({'train': some}, [])
    assert leave_out_empty({'train': some, 'val': [], 'test': []}, 'x') == (
        {'train': some},
        ['val has no image, left out', 'test has no image, left out'],
    )
    with pytest.raises(ValueError, match='^x: train has no image; put some into it$'):
        leave_out_empty({'train': [], 'val': some}, 'x')
