"""Images and folders that are wrong, and the line that each gets in ``test_bad_input.py``."""

import io
import struct
import zlib

import numpy as np
from PIL import Image

from .conftest import both, put, write


def bmp_header(width, height):
    """An image of Windows that says it is this large."""
    content = encode('BMP')
    return content[:18] + struct.pack('<ii', width, height) + content[26:]


def png_header(width, height):
    """A PNG of a hundred bytes that claims to be of any size."""

    def chunk(kind, data):
        return (
            struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))
        )

    return (
        b'\x89PNG\r\n\x1a\n'
        + chunk(b'IHDR', struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0))
        + chunk(b'IDAT', zlib.compress(bytes(100)))
        + chunk(b'IEND', b'')
    )


def encode(kind, mode='RGB', size=(40, 30), **options):
    pixels = np.random.default_rng(7).integers(0, 256, (size[1], size[0], 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(file, kind, **options)
    return file.getvalue()


def image(content, name='labeled/0.png'):
    """Another content for an image; OpenCV goes by it and not by the name."""
    return lambda w: (w.root / name).write_bytes(content() if callable(content) else content)


def half(kind):
    content = encode(kind)
    return content[: len(content) // 2]


def turned():
    exif = Image.Exif()
    exif[0x112] = 6
    return encode('JPEG', exif=exif)


def upside_down():
    exif = Image.Exif()
    exif[0x112] = 3
    return encode('JPEG', exif=exif)


def deep(kind):
    pixels = np.full((30, 40), 0x1234, np.uint16)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def scrambled():
    content = bytearray(encode('PNG'))
    content[len(content) // 2] ^= 255
    return bytes(content)


def floats():
    file = io.BytesIO()
    Image.fromarray(np.full((30, 40), 0.5, np.float32)).save(file, 'TIFF')
    return file.getvalue()


def pages():
    return encode('TIFF', save_all=True, append_images=[Image.new('RGB', (40, 30))])


def link(name, target):
    return lambda w: (w.root / name).symlink_to(w.root / target)


def folder(*damages):
    """Unlabelled images from a folder, which is damaged."""
    return both(lambda w: w.use_folder(), *damages)


def emptied(w):
    for path in (w.root / 'unlabeled').iterdir():
        path.unlink()


def forbid(name):
    """A folder that may not be looked into; an administrator, as in a container, always may."""

    def damage(w):
        (w.root / name).mkdir(exist_ok=True)
        w.forbidden.append(str(w.root / name))

    return damage


def copy(source, target):
    return lambda w: (w.root / target).write_bytes((w.root / source).read_bytes())


# fmt: off
BAD_IMAGES = [
    # --- Images that are not there.
    (lambda w: (w.root / 'labeled/1.png').unlink(), 'json',
     'error: labeled.json: image labeled/1.png does not exist; add the images, or remove their'
     ' entries'),
    (lambda w: w.sources[0].update(data_prefix=dict(img='pictures/')), 'json',
     'error: labeled.json: image pictures/0.png does not exist (and 2 more); correct the image '
     'folder (data_root and data_prefix of'),
    # A link whose target was not copied along.
    (both(lambda w: (w.root / 'labeled/1.png').unlink(), link('labeled/1.png', 'gone.png')), 'json',
     'error: labeled.json: image labeled/1.png does not exist; add the images, or remove their'),
    # As after copying from Windows, exporting in another format, and copying from a Mac.
    (lambda w: (w.root / 'labeled/1.png').rename(w.root / 'labeled/1.JPG'), 'json',
     'error: labeled.json: image labeled/1.png does not exist, but 1.JPG does; spell them alike:'),
    (both(lambda w: w.labeled['images'][1].update(file_name='caf\u00e9.png'),
          lambda w: (w.root / 'labeled/1.png').rename(w.root / 'labeled/Cafe\u0301.png')), 'json',
     'error: labeled.json: image labeled/caf\u00e9.png does not exist, but Cafe\u0301.png does;'),
    # One of many is skipped while training.
    (lambda w: (w.root / 'unlabeled/1.png').unlink(), 'json',
     'warning: unlabeled.json: image unlabeled/1.png does not exist; add the images, or remove'
     ' their'),
    (emptied, 'json',
     'error: unlabeled.json: image unlabeled/0.png does not exist (and 3 more); correct the'),
    # --- Images that are broken.
    (image(b''), 'image', 'error: labeled/0.png: is empty: 0 bytes; replace or remove it'),
    (image(b'<html>404</html>'), 'image',
     'error: labeled/0.png: is not an image; replace or remove it'),
    (image(b'\0\0\0\x18ftypheic' + bytes(1000)), 'image',
     'error: labeled/0.png: is a HEIC that is cut off, damaged or of a rare kind; save it as PNG'),
    (image(bytes(1000)), 'image', 'error: labeled/0.png: is not an image; replace or remove'),
    (image(half('PNG')), 'image', 'error: labeled/0.png: is cut off: the end of its PNG data is'),
    (image(half('JPEG')), 'image', 'error: labeled/0.png: is cut off: the end of its JPEG data is'),
    # What a crash may leave: of the right length. OpenCV fills it with grey.
    (image(half('JPEG') + bytes(500)), 'image',
     'error: labeled/0.png: is cut off: the end of its JPEG data is missing; replace or remove'),
    (image(encode('JPEG')[:3]), 'image',
     'error: labeled/0.png: is cut off: the end of its JPEG data is missing; replace or remove'),
    (image(half('BMP')), 'image', 'error: labeled/0.png: is a BMP that is cut off, damaged or of'),
    (image(half('TIFF')), 'image',
     'error: labeled/0.png: is a TIFF that is cut off, damaged or of a rare kind; save it as'),
    (image(half('WEBP')), 'image',
     'error: labeled/0.png: is a WebP that is cut off, damaged or of a rare kind; save it as'),
    (image(scrambled), 'image', 'error: labeled/0.png: is a PNG that is cut off, damaged or of a'),
    # Measurements rather than pixels.
    (image(floats), 'image', 'error: labeled/0.png: is a TIFF that is cut off, damaged or of a'),
    (lambda w: (w.root / 'labeled/0.png').unlink() or (w.root / 'labeled/0.png').mkdir(), 'image',
     'error: labeled/0.png: cannot be read: Is a directory; check its permissions and disk'),
    # Some megabytes that would take gigabytes in memory; the second beyond what Pillow opens.
    (image(png_header(10_000, 10_000)), 'image',
     'error: labeled/0.png: is 10000 x 10000, which is more than 89,478,485 pixels; cut it into'),
    (image(png_header(60_000, 60_000)), 'image',
     'error: labeled/0.png: is 60000 x 60000, which is more than 89,478,485 pixels; cut it into'),
    (image(bmp_header(60_000, 60_000)), 'image',
     'error: labeled/0.png: has more than 89,478,485 pixels; cut it into tiles or make it smaller'),
    (put('images', 0, width=41), 'image',
     'error: labeled/0.png: is 40 x 30, but 41 x 30 in its annotation file; correct width, height'),
    (image(encode('PNG', size=(80, 60))), 'image',
     'error: labeled/0.png: is 80 x 60, but 40 x 30 in its annotation file; correct width, height'),
    (image(turned()), 'image',
     'error: labeled/0.png: is 40 x 30 in its annotation file, as it is stored, but its EXIF'),
    # Swapped by hand: nothing to do with EXIF.
    (put('images', 0, width=30, height=40), 'image',
     'error: labeled/0.png: is 40 x 30, but 30 x 40 in its annotation file; correct width, height'),
    # Unlabelled ones are skipped, up to half of them here.
    (image(b'', 'unlabeled/0.png'), 'image',
     'warning: unlabeled/0.png: is empty: 0 bytes; replace or remove it'),
    (both(*(image(b'', f'unlabeled/{i}.png') for i in range(3))), 'image',
     'error: unlabeled.json: 3 of 4 images are broken; training stops above a share of 0.5:'),
    # --- Images of other kinds, which are loaded.
    (image(encode('PNG', 'L')), 'image',
     'warning: labeled.json: labeled/0.png has one channel; it is loaded as three equal ones'),
    (image(encode('PNG', 'RGBA')), 'image',
     'warning: labeled.json: labeled/0.png has transparency; it is dropped, so hidden pixels'
     ' become'),
    (image(encode('JPEG', 'CMYK')), 'image',
     "warning: labeled.json: labeled/0.png has printers' colours (CMYK); they are converted"),
    (image(deep('PNG')), 'image',
     'warning: labeled.json: labeled/0.png has 16 bits per channel; the lower 8 are dropped, so'),
    (image(deep('TIFF')), 'image', 'warning: labeled.json: labeled/0.png has 16 bits per channel;'),
    (image(pages), 'image',
     'warning: labeled.json: labeled/0.png has several pages or frames; only the first is loaded:'),
    # Its size says nothing, its boxes may be for the other way up.
    (image(upside_down()), 'image',
     'warning: labeled.json: labeled/0.png is turned by its EXIF orientation; boxes must fit the'
     ' turned'),
    # --- A folder of unlabelled images.
    (folder(lambda w: w.sources[1].update(data_root='no/folder')), 'json',
     'error: no/folder: is not a folder; set train_dataloader.dataset.datasets[1].data_root to'
     ' the'),
    (folder(emptied), 'json',
     'error: train_dataloader.dataset.datasets[1]: no image in unlabeled or its'),
    (folder(emptied, write('unlabeled/a.txt', b'')), 'json',
     'error: train_dataloader.dataset.datasets[1]: no image in unlabeled or its'),
    (folder(write('unlabeled/a.txt', b''), write('unlabeled/b.gif', b'')), 'json',
     'warning: unlabeled: a.txt is not named like an image (and 1 more); it is skipped;'),
    (folder(emptied, link('unlabeled/a.png', 'gone.png')), 'json',
     'error: train_dataloader.dataset.datasets[1]: no image in unlabeled or its sub-folders; looked'
     ' for .bmp, .jpeg, .jpg, .png, .tif, .tiff, .webp, found no file, and links that lead nowhere,'
     ' such as unlabeled/a.png'),
    (folder(link('unlabeled/loop', 'unlabeled')), 'json',
     'warning: unlabeled: loop leads nowhere, or to a folder seen before; it is skipped'),
    (folder(link('unlabeled/self.png', 'unlabeled/self.png')), 'json',
     'warning: unlabeled: self.png leads nowhere, or to a folder seen before; it is skipped'),
    (folder(link('unlabeled/gone.png', 'gone.png')), 'json',
     'warning: unlabeled: gone.png leads nowhere, or to a folder seen before; it is skipped'),
    # A byte that is no UTF-8, and a new line: one line, whatever a name holds.
    (folder(image(encode('PNG'), 'unlabeled/caf\udce9.png')), 'json',
     r'warning: unlabeled: caf\xe9.png has a name that cannot be shown; rename it; logs show it'),
    (folder(image(encode('PNG'), 'unlabeled/a\nb.png')), 'json',
     r'warning: unlabeled: a\nb.png has a name that cannot be shown; rename it; logs show it like'),
    (folder(image(b'', 'unlabeled/caf\udce9.png')), 'image',
     r'warning: unlabeled/caf\xe9.png: is empty: 0 bytes; replace or remove it'),
    (folder(forbid('unlabeled/sub')), 'json',
     'warning: unlabeled: sub cannot be read; check its permissions'),
    (folder(forbid('unlabeled')), 'json',
     'error: train_dataloader.dataset.datasets[1]: unlabeled cannot be'),
    # --- Images in two data sets.
    (lambda w: w.cfg.val_dataloader.dataset.update(data_prefix=dict(img='labeled/')), 'json',
     'warning: labeled.json: 2 of its images are also in val.json, such as labeled/0.png; a leak:'),
    # The same files by another way.
    (both(link('linked', 'val'), lambda w: w.sources[0].update(data_prefix=dict(img='linked/')),
          lambda w: w.labeled['images'].pop(), lambda w: w.labeled['annotations'].pop()), 'json',
     'warning: labeled.json: 2 of its images are also in val.json, such as linked/0.png; a leak:'),
    (folder(link('unlabeled/x.png', 'val/0.png')), 'json',
     'warning: unlabeled: 1 of its images are also in val.json, such as unlabeled/x.png; a leak:'),
    # Copies are seen when images are opened.
    (copy('val/1.png', 'labeled/2.png'), 'image',
     'warning: labeled.json: 1 of its images have copies in val.json, such as'),
    (copy('val/1.png', 'unlabeled/2.png'), 'image',
     'warning: unlabeled.json: 1 of its images have copies in val.json, such as'),
    (copy('labeled/1.png', 'unlabeled/2.png'), 'image',
     'warning: labeled.json: 1 of its images have copies in unlabeled.json, such as'),
    # The split was forgotten.
    (lambda w: w.sources[1].update(ann_file='labeled.json', data_prefix=dict(img='labeled/')),
     'json',
     'warning: labeled.json: 3 of its images are also in labeled.json, such as labeled/0.png;'),
]
# fmt: on
