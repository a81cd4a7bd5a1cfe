"""What an image looks like once loaded; what is refused is in ``tests/checks/bad_images.py``."""

import io
import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmcv.transforms import LoadImageFromFile
from mmdet.apis import DetInferencer
from mmengine.config import Config
from PIL import Image
from torch.utils.data import DataLoader

from ssod.data.labeled_images import image_size
from ssod.data.load_image import BrokenImageError, LoadImage, orientation, printable, read_rgb

CONFIGS = Path(__file__).parents[2] / 'configs'
RED, GREEN, BLUE = 200, 100, 50
GREY = 124  # 0.299 · 200 + 0.587 · 100 + 0.114 · 50


def picture(height=4, width=6):
    return Image.fromarray(np.full((height, width, 3), (RED, GREEN, BLUE), np.uint8))


def save(path, image, **options):
    image.save(path, **options)
    return str(path)


def load(path, **info):
    return LoadImage().transform({'img_path': str(path), **info})['img']


@pytest.mark.parametrize('name', ['a.jpg', 'a.png', 'a.bmp', 'a.webp', 'a.tif', 'a.gif'])
def test_the_same_as_mmdet_loads(tmp_path, name):
    noise = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)
    path = save(tmp_path / name, Image.fromarray(noise))
    ours = LoadImage().transform({'img_path': path, 'img_id': 3, 'height': 30, 'width': 40})
    theirs = LoadImageFromFile().transform({'img_path': path, 'img_id': 3})
    assert np.array_equal(ours.pop('img'), theirs.pop('img'))
    assert ours == {**theirs, 'height': 30, 'width': 40}


def test_an_address_is_no_file(tmp_path):
    # As annotation tools write it whose images are elsewhere.
    with pytest.raises(BrokenImageError, match=r'a\.jpg is not a file; download it'):
        LoadImage().transform({'img_path': f'{tmp_path}/https://host/a.jpg'})


@pytest.mark.parametrize(
    ('mode', 'name', 'bgr', 'tolerance'),
    [
        # BGR, not RGB.
        ('RGB', 'a.png', (BLUE, GREEN, RED), 0),
        # One channel becomes three equal ones.
        ('L', 'a.png', (GREY, GREY, GREY), 0),
        ('L', 'a.jpg', (GREY, GREY, GREY), 1),
        ('L', 'a.tif', (GREY, GREY, GREY), 0),
        # One bit.
        ('1', 'a.png', (0, 0, 0), 0),
        # What is fully transparent shows its colours again.
        ('RGBA', 'a.png', (BLUE, GREEN, RED), 0),
        ('LA', 'a.png', (GREY, GREY, GREY), 0),
        # Only of TIFF it is black.
        ('RGBA', 'a.tif', (0, 0, 0), 0),
        # Printers' colours; JPEG stores them inverted.
        ('CMYK', 'a.jpg', (BLUE, GREEN, RED), 2),
        ('CMYK', 'a.tif', (BLUE, GREEN, RED), 2),
        # Palettes.
        ('P', 'a.png', (BLUE, GREEN, RED), 0),
        ('P', 'a.bmp', (BLUE, GREEN, RED), 0),
        ('P', 'a.gif', (BLUE, GREEN, RED), 0),
        ('P', 'a.tif', (BLUE, GREEN, RED), 0),
    ],
)
def test_other_kinds_become_8_bit_bgr(tmp_path, mode, name, bgr, tolerance):
    image = picture()
    if mode == 'P':
        image = image.convert('P', palette=Image.Palette.ADAPTIVE)
    elif mode == '1':
        image = image.convert('1', dither=Image.Dither.NONE).point(lambda _: 0)
    else:
        image = image.convert(mode)
    if mode.endswith('A'):
        image.putalpha(0)
    options = {'quality': 100} if name.endswith('jpg') else {}
    loaded = load(save(tmp_path / name, image, **options), height=4, width=6)
    assert (loaded.shape, loaded.dtype) == ((4, 6, 3), np.uint8)
    assert np.abs(loaded.astype(int) - bgr).max() <= tolerance


@pytest.mark.parametrize('name', ['a.png', 'a.tif'])
@pytest.mark.parametrize('value', [0x1234, (0x1234, 0x5678, 0x9ABC)])
def test_of_16_bits_the_upper_8_stay(tmp_path, name, value):
    path = tmp_path / name
    shape = (4, 6, 3)[: 2 + isinstance(value, tuple)]
    cv2.imwrite(str(path), np.full(shape, value, np.uint16))
    loaded = load(path)
    assert (loaded.shape, loaded.dtype) == ((4, 6, 3), np.uint8)
    assert np.array_equal(loaded, np.broadcast_to(np.array(value) >> 8, (4, 6, 3)))


@pytest.mark.parametrize('name', ['a.jpg', 'a.png', 'a.tif'])
def test_exif_turns(tmp_path, name):
    # Stored lying, with a white patch at the left; to be turned clockwise: the patch is on top.
    stored = np.zeros((16, 32, 3), np.uint8)
    stored[:, :8] = 255
    exif = Image.Exif()
    exif[0x112] = 6
    path = save(tmp_path / name, Image.fromarray(stored), exif=exif)
    loaded = load(path, height=32, width=16)
    assert loaded.shape == (32, 16, 3)
    assert loaded[:6].min() > 200
    assert loaded[10:].max() < 50


def test_the_same_pixels_in_rgb(tmp_path):
    path = save(tmp_path / 'a.png', picture())
    assert read_rgb(path)[0, 0].tolist() == [RED, GREEN, BLUE]
    assert (read_rgb(path) == load(path)[..., ::-1]).all()
    assert (read_rgb(path, {'backend': 'local'}) == read_rgb(path)).all()
    with pytest.raises(BrokenImageError, match=r'none.png does not exist'):
        read_rgb(str(tmp_path / 'none.png'))


def test_exif_does_not_turn_webp(tmp_path):
    exif = Image.Exif()
    exif[0x112] = 6
    path = save(tmp_path / 'a.webp', picture(16, 32), exif=exif)
    assert load(path, height=16, width=32).shape == read_rgb(path).shape == (16, 32, 3)
    with pytest.raises(BrokenImageError, match='is 32 x 16, but 16 x 32 in its annotation file'):
        load(path, height=32, width=16)


@pytest.mark.parametrize('turn', [3, 6])
def test_exif_after_xmp_does_not_turn(tmp_path, turn):
    # OpenCV looks only at the first of the two, and mmdet loads with OpenCV.
    exif = Image.Exif()
    exif[0x112] = turn
    path = save(tmp_path / 'a.jpg', picture(16, 32))
    upright, content = load(path), (tmp_path / 'a.jpg').read_bytes()
    xmp = b'http://ns.adobe.com/xap/1.0/\0<x:xmpmeta/>'
    (tmp_path / 'a.jpg').write_bytes(
        content[:2] + segment(xmp) + segment(b'Exif\0\0' + exif.tobytes()) + content[2:]
    )
    assert np.array_equal(load(path), upright)
    assert orientation((tmp_path / 'a.jpg').read_bytes()) == 1
    assert image_size(tmp_path / 'a.jpg') == (32, 16)
    with pytest.raises(BrokenImageError, match='is 32 x 16, but 16 x 32 in its annotation file'):
        load(path, height=32, width=16)


def segment(data):
    """Metadata of a JPEG."""
    return b'\xff\xe1' + (len(data) + 2).to_bytes(2, 'big') + data


def test_of_several_pages_the_first_is_loaded(tmp_path):
    path = save(
        tmp_path / 'a.tif', picture(), save_all=True, append_images=[Image.new('RGB', (6, 4))]
    )
    assert load(path)[0, 0].tolist() == [BLUE, GREEN, RED]


def test_a_whole_jpeg_with_something_after_it(tmp_path):
    # Cameras append previews and padding.
    path = tmp_path / 'a.jpg'
    save(path, picture())
    expected = load(path)
    path.write_bytes(path.read_bytes() + bytes(1000))
    assert np.array_equal(load(path), expected)


@pytest.mark.parametrize('between', [b'\0\0\0', b'\xff\xd0', b'\xff\xff'])
def test_a_whole_jpeg_with_something_between_its_segments(tmp_path, between):
    path = tmp_path / 'a.jpg'
    save(path, picture())
    expected, content = load(path), path.read_bytes()
    # The first segment, after two bytes, says how long it is.
    end = 4 + int.from_bytes(content[4:6], 'big')
    path.write_bytes(content[:end] + between + content[end:])
    assert np.array_equal(load(path), expected)


def test_a_cut_jpeg_with_a_whole_thumbnail(tmp_path):
    # The thumbnail in the header ends like an image.
    thumbnail = io.BytesIO()
    picture().save(thumbnail, 'JPEG')
    path = tmp_path / 'a.jpg'
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    save(path, Image.fromarray(noise), exif=b'Exif\0\0' + thumbnail.getvalue())
    load(path)
    content = path.read_bytes()
    # The rest as zeros, which some file systems leave: such an image is decoded, half of it grey.
    path.write_bytes(content[: len(content) // 2] + bytes(len(content) // 2))
    with pytest.raises(BrokenImageError, match='is cut off: the end of its JPEG data'):
        load(path)


def test_the_error_knows_its_file_also_from_a_data_worker(tmp_path):
    path = str(tmp_path / 'gone.png')
    with pytest.raises(BrokenImageError) as caught:
        load(path)
    assert caught.value.path == path
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (copy.path, str(copy)) == (path, str(caught.value))


class Files(list):
    """A data set that loads its files."""

    def __getitem__(self, index):
        return load(list(self)[index])


def test_a_data_workers_error_keeps_its_type(tmp_path):
    loader = DataLoader(Files([tmp_path / 'gone.png']), num_workers=1)
    with pytest.raises(BrokenImageError, match=r'gone.png does not exist') as caught:
        list(loader)
    assert caught.value.path == ''


@pytest.mark.parametrize(
    ('path', 'text'),
    [
        ('a/ü 1.jpg', 'a/ü 1.jpg'),
        # A byte that is no UTF-8, as Python reads it from a folder.
        ('caf\udce9.jpg', r'caf\xe9.jpg'),
        # One line stays one.
        ('a\nb.jpg', r'a\nb.jpg'),
        ('\x1b[31m.jpg', r'\x1b[31m.jpg'),
    ],
)
def test_printable(path, text):
    assert printable(path) == text


@pytest.mark.parametrize('config', sorted(CONFIGS.glob('*.py')), ids=lambda path: path.stem)
def test_mmdets_inferencer_takes_our_configs(config):
    # It looks for LoadImageFromFile in the test data; ours alone would break it.
    cfg = Config.fromfile(config)
    pipeline = DetInferencer._init_pipeline(DetInferencer.__new__(DetInferencer), cfg)
    sample = pipeline(np.zeros((96, 96, 3), np.uint8))
    assert sample['data_samples'].ori_shape == (96, 96)
    # What is scored while training is checked.
    assert cfg.val_dataloader.dataset.pipeline[0].type == 'LoadImage'
    assert cfg.val_dataloader.dataset.pipeline[1:] == cfg.test_dataloader.dataset.pipeline[1:]


@pytest.mark.parametrize(
    ('size', 'broken'), [((300, 3), False), ((301, 3), True), ((1, 101), True)]
)
def test_what_is_too_thin_to_be_made_smaller(tmp_path, size, broken):
    path = tmp_path / 'thin.png'
    Image.new('RGB', size).save(path)
    if broken:
        with pytest.raises(
            BrokenImageError, match=rf'thin.png is {size[0]} × {size[1]} pixels, too'
        ):
            LoadImage().transform({'img_path': str(path)})
    else:
        assert LoadImage().transform({'img_path': str(path)})['img_shape'] == size[::-1]
