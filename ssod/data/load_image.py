"""Loads an image, or says in one line why it cannot be used."""

import io
from typing import Any

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from mmdet.registry import TRANSFORMS
from mmengine import fileio
from numpy.typing import NDArray
from PIL import Image

from ssod.strict import strict_settings

Pixels = NDArray[np.uint8]
"""An image, (height, width, 3) or (height, width); if in colour, BGR where nothing else is said."""

MAX_PIXELS = 89_478_485
"""Pixels of the largest image that is decoded, as in Pillow: a quarter of a GiB in memory. A file
of a few kilobytes may claim to hold many more."""

MAX_RATIO = 100
"""Largest ratio of an image's longer side to its shorter one: thinner images would vanish when
resized for the detector."""

SIGNATURES = {
    b'\xff\xd8\xff': 'JPEG',
    b'\x89PNG\r\n\x1a\n': 'PNG',
    b'BM': 'BMP',
    b'GIF8': 'GIF',
    b'RIFF': 'WebP',
    b'II*\0': 'TIFF',
    b'MM\0*': 'TIFF',
}
"""The first bytes of image files."""

PHONES = {b'ftypheic': 'HEIC', b'ftypheix': 'HEIC', b'ftypmif1': 'HEIC', b'ftypavif': 'AVIF'}
"""Bytes 4 to 11 of image files of phones."""

ORIENTATION = 0x112
"""The EXIF tag that says how to rotate a stored image."""

_GET_ANEW = 'replace or remove it'
_JPEG_END = b'\xff\xd9'
_PNG_END = b'IEND\xaeB`\x82'
_EXIF = b'Exif\0\0'
_START_OF_SCAN = 0xDA
_WITHOUT_LENGTH = {0x00, 0x01, *range(0xD0, 0xDA)}
_TAKEN_FOR_EXIF = ('xmp', 'XML:com.adobe.xmp', 'Raw profile type exif')


class BrokenImageError(ValueError):
    """An image that cannot be used.

    Args:
        path: The file.
        message: One line: the file, what is wrong with it, the remedy. Data workers pass on only
            an error's text; an error rebuilt from it has no ``path``.
    """

    def __init__(self, path: str, message: str | None = None) -> None:
        super().__init__(path if message is None else message)
        self.path = '' if message is None else path


@TRANSFORMS.register_module()
@strict_settings
class LoadImage(BaseTransform):
    """Load an image like ``LoadImageFromFile``, and refuse broken ones.

    The image is (H, W, 3), uint8, BGR, with its EXIF orientation applied (WebP, and JPEG with XMP
    before EXIF: as stored). Grey images get three equal channels, 16-bit images keep the upper 8
    bits, transparency is dropped (TIFF: blended with black), and palettes and CMYK are converted to
    colours. Of several pages or frames, the first is loaded.

    Reads ``img_path`` and, if the annotations have them, ``height`` and ``width``; writes ``img``,
    ``img_shape`` and ``ori_shape``.

    Args:
        backend_args: As for mmengine's ``fileio.get``, for files that are not on a disk.

    Raises:
        BrokenImageError: If the file is missing, unreadable, empty, not an image or cut off, if it
            has more than :data:`MAX_PIXELS`, is thinner than :data:`MAX_RATIO`, or differs in size
            from its annotations.
    """

    def __init__(self, backend_args: dict[str, Any] | None = None) -> None:
        self.backend_args = backend_args

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Load one image."""
        path = results['img_path']
        content = self._read(path)
        image = decode_image(content, path)
        if results.get('width') and results.get('height'):
            _check_size(image, (results['width'], results['height']), content, path)
        results['img'] = image
        results['img_shape'] = results['ori_shape'] = image.shape[:2]
        return results

    def _read(self, path: str) -> bytes:
        try:
            content: bytes = fileio.get(path, backend_args=self.backend_args)
        except FileNotFoundError:
            raise _broken(
                path, 'does not exist', 'check data_root, data_prefix and file_name, or add it'
            ) from None
        except KeyError:
            # mmengine reads by what comes before ://.
            raise _broken(path, 'is not a file', 'download it and set file_name to it') from None
        except OSError as error:
            raise _broken(
                path, f'cannot be read: {error.strerror or error}', 'check its permissions and disk'
            ) from None
        return content


def read_rgb(path: str, backend_args: dict[str, Any] | None = None) -> Pixels:
    """The pixels (H, W, 3) of an image file, as :class:`LoadImage` loads it, but RGB.

    Args:
        path: The file.
        backend_args: How it is read, as for :class:`LoadImage`.

    Raises:
        BrokenImageError: If it cannot be loaded.
    """
    image = LoadImage(backend_args=backend_args).transform({'img_path': path})['img']
    return np.ascontiguousarray(image[..., ::-1])


def decode_image(content: bytes, path: str) -> Pixels:
    """Decode the content of an image file.

    Args:
        content: The whole file.
        path: The file, for messages.

    Returns:
        The image, (H, W, 3), BGR.

    Raises:
        BrokenImageError: If it is empty, not an image or cut off, has more than
            :data:`MAX_PIXELS`, or is thinner than :data:`MAX_RATIO`.
    """
    if not content:
        raise _broken(path, 'is empty: 0 bytes', _GET_ANEW)
    _check_pixels(content, path)
    kind = PHONES.get(content[4:12])
    kind = next((name for start, name in SIGNATURES.items() if content.startswith(start)), kind)
    # Older versions of OpenCV fill what is missing with grey.
    if _is_cut_off(content, kind):
        raise _broken(path, f'is cut off: the end of its {kind} data is missing', _GET_ANEW)
    # Newer versions rotate WebP, older ones do not.
    flags = cv2.IMREAD_COLOR | (cv2.IMREAD_IGNORE_ORIENTATION if kind == 'WebP' else 0)
    try:
        image = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
    except cv2.error:  # For sizes that OpenCV itself refuses.
        image = None
    if image is None and kind is None:
        raise _broken(path, 'is not an image', _GET_ANEW)
    if image is None:
        raise _broken(
            path, f'is a {kind} that is cut off, damaged or of a rare kind', 'save it as PNG'
        )
    height, width = image.shape[:2]
    if max(height, width) > MAX_RATIO * min(height, width):
        what = f'is {width} × {height} pixels, too thin to be resized'
        raise _broken(path, what, 'crop or remove it')
    return np.asarray(image, np.uint8)


def printable(path: str) -> str:
    r"""A path as one line that any terminal can show: odd characters and bytes as ``\x..``."""
    return ''.join(c if c.isprintable() else _escaped(c) for c in path)


def _escaped(character: str) -> str:
    # Python reads a byte that is not UTF-8 as a character from 0xDC80 on.
    if '\udc80' <= character <= '\udcff':
        return f'\\x{ord(character) - 0xDC00:02x}'
    return character.encode('unicode_escape').decode()


def _broken(path: str, what: str, remedy: str) -> BrokenImageError:
    return BrokenImageError(path, f'{printable(path)} {what}; {remedy}')


def _check_pixels(content: bytes, path: str) -> None:
    """Refuse a huge image before allocating memory for it; only the header is read."""
    try:
        width, height = _size_of_png(content) or _size(content)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        size = 'has'
    except Exception:  # OpenCV may still read what Pillow cannot.
        return
    else:
        if width * height <= MAX_PIXELS:
            return
        size = f'is {width} x {height}, which is'
    raise _broken(
        path, f'{size} more than {MAX_PIXELS:,} pixels', 'cut it into tiles or make it smaller'
    )


def _size(content: bytes) -> tuple[int, int]:
    with Image.open(io.BytesIO(content)) as header:
        width, height = header.size
    return width, height


def _size_of_png(content: bytes) -> tuple[int, int] | None:
    """Width and height from a PNG's header; Pillow would take half as long as decoding it."""
    if content[12:16] != b'IHDR' or not content.startswith(b'\x89PNG'):
        return None
    return int.from_bytes(content[16:20], 'big'), int.from_bytes(content[20:24], 'big')


def _is_cut_off(content: bytes, kind: str | None) -> bool:
    if kind == 'PNG':
        return content.rfind(_PNG_END) < 0
    # A thumbnail in the header has its own end marker.
    return kind == 'JPEG' and content.rfind(_JPEG_END) < _end_of_jpeg_header(content)


def _end_of_jpeg_header(content: bytes) -> int:
    """Where the pixels begin, or the length of a file without any."""
    at = 2
    # Decoders skip anything between two segments.
    while 0 <= (at := content.find(0xFF, at)) <= len(content) - 4:
        marker = content[at + 1]
        if marker == _START_OF_SCAN:
            return at
        if marker == 0xFF:
            at += 1
        elif marker in _WITHOUT_LENGTH:
            at += 2
        else:
            at += 2 + int.from_bytes(content[at + 2 : at + 4], 'big')
    return len(content)


def _check_size(image: Pixels, expected: tuple[int, int], content: bytes, path: str) -> None:
    """Refuse an image whose size differs from its annotations.

    Args:
        image: The image.
        expected: Width and height in the annotations.
        content: The file; read again only if there is something to explain.
        path: The file.
    """
    height, width = image.shape[:2]
    if (width, height) == expected:
        return
    told = f'{expected[0]} x {expected[1]}'
    turn = orientation(content) if (height, width) == expected else 1
    if turn in (5, 6, 7, 8):
        raise _broken(
            path,
            f'is {told} in its annotation file, as it is stored, but its EXIF orientation {turn} '
            f'rotates it to {width} x {height}',
            'rotate its pixels and remove the tag (exiftran -ai), or annotate the rotated image',
        )
    raise _broken(
        path,
        f'is {width} x {height}, but {told} in its annotation file',
        'correct width, height and boxes there, or get the right image',
    )


def orientation(content: bytes) -> int:
    """The EXIF orientation applied when an image file is loaded: 1 to 8; 1 is upright."""
    try:
        with Image.open(io.BytesIO(content)) as header:
            return turn_of(header)
    except Exception:  # What cannot be opened is not rotated.
        return 1


def turn_of(header: Image.Image) -> int:
    """The EXIF orientation of an opened image; 1 if :func:`decode_image` does not rotate it.

    It does not rotate WebP, nor a JPEG with other metadata before EXIF.

    Raises:
        OSError: If it is a PNG that is cut off.
    """
    if header.format == 'WEBP' or _begins_with_other_metadata(header):
        return 1
    try:
        turn: int = exif_of(header).get(ORIENTATION, 1)
    except OSError:
        raise
    except Exception:  # Damaged metadata rotates nothing.
        return 1
    return turn if turn in range(1, 9) else 1


def _begins_with_other_metadata(header: Image.Image) -> bool:
    """Whether the first metadata of a JPEG, the only ones OpenCV looks at, are XMP or the like."""
    segments = getattr(header, 'applist', ())
    first = next((data for name, data in segments if name == 'APP1'), _EXIF)
    return not first.startswith(_EXIF)


def exif_of(header: Image.Image) -> Image.Exif:
    """Only the EXIF metadata of an opened image; OpenCV ignores the other sources Pillow uses."""
    if header.format == 'PNG':
        header.load()  # Metadata may come after the pixels.
    for name in _TAKEN_FOR_EXIF:
        header.info.pop(name, None)
    return header.getexif()
