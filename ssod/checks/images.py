"""Checks that open every image."""

import hashlib
import io
import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import NamedTuple

from mmengine.config import Config
from PIL import Image

from ssod.checks.findings import Finding, Severity, finding_of, first_of
from ssod.checks.leaks import check_shared
from ssod.checks.reports import ImageEntry, Report
from ssod.data.broken_images import BrokenImagesHook
from ssod.data.load_image import BrokenImageError, LoadImage, orientation, printable
from ssod.progress import progress_bar

CHUNK = 16
"""Images that a process is given at a time."""

REMARKS = {
    'grey': ('has one channel', 'it is loaded as three equal ones'),
    'transparent': ('has transparency', 'it is dropped, so hidden pixels become visible'),
    'CMYK': ("has printers' colours (CMYK)", 'they are converted without a colour profile'),
    '16 bit': ('has 16 bits per channel', 'the lower 8 are dropped, so brighten dark images first'),
    'pages': ('has several pages or frames', 'only the first is loaded: save each as an image'),
    'turned': ('is turned by its EXIF orientation', 'boxes must fit the turned image'),
}
"""What may be intended, and how it is loaded."""

_BITS_PER_SAMPLE = 258
_PNG_DEPTH = 24


class Look(NamedTuple):
    """What is seen when an image is opened.

    Args:
        image: The image.
        problem: Why it cannot be used, in one line; ``None`` if it can.
        remarks: Keys of :data:`REMARKS`.
        digest: Hash of its content; empty if it cannot be used.
    """

    image: ImageEntry
    problem: str | None
    remarks: tuple[str, ...] = ()
    digest: bytes = b''


def check_images(cfg: Config, reports: Sequence[Report], workers: int) -> list[Finding]:
    """Open every image of some data sets once, with a progress bar on stderr.

    Args:
        cfg: Their config, which may say how many images may be broken.
        reports: The data sets.
        workers: Number of processes, at least 1.

    Returns:
        What is wrong with the images, and which of them are in several data sets.

    Raises:
        ValueError: If a process died, as when memory runs out.
    """
    images = list(dict.fromkeys(image for report in reports for image in report.images))
    with progress_bar() as bar:
        opened = bar.track(look_at_all(images, workers), len(images), description='opening images')
        looks = {look.image: look for look in opened}
    settings = dict((cfg.get('default_hooks') or {}).get('broken_images') or {})
    for of_every_hook in ('type', 'priority'):
        settings.pop(of_every_hook, None)
    max_share = BrokenImagesHook(**settings).max_share
    findings = []
    for report in reports:
        findings += check_looks(report, [looks[image] for image in report.images], max_share)
    digests = {image.path: look.digest for image, look in looks.items() if look.digest}
    return findings + check_shared(reports, digests)


def look_at_all(images: Sequence[ImageEntry], workers: int) -> Iterator[Look]:
    """Open images in parallel, in their order.

    Args:
        images: The images.
        workers: Number of processes, at least 1.

    Raises:
        ValueError: If a process died, as when memory runs out.
    """
    try:
        with ProcessPoolExecutor(workers) as pool:
            yield from pool.map(look_at, images, chunksize=CHUNK)
    except BrokenProcessPool:
        raise ValueError(
            f'a process that opens images died, probably out of memory; use fewer than {workers} '
            f'--workers'
        ) from None


def look_at(image: ImageEntry) -> Look:
    """Open an image as training does."""
    try:
        LoadImage().transform(
            {'img_path': image.path, 'width': image.width, 'height': image.height}
        )
        content = Path(image.path).read_bytes()
    except BrokenImageError as error:
        return Look(image, str(error))
    digest = hashlib.blake2b(content, digest_size=16).digest()
    return Look(image, None, tuple(_remarks(content)), digest)


def check_looks(report: Report, looks: Sequence[Look], max_share: float) -> list[Finding]:
    """Find what is wrong with a data set's images: one finding per broken image and per remark.

    Missing images are left out, because the report already lists them.

    Args:
        report: The data set.
        looks: What opening its images showed.
        max_share: Share of the unlabelled images that may be broken without stopping the training.
    """
    unlabeled = report.data_set.role == 'unlabeled'
    severity: Severity = 'warning' if unlabeled else 'error'
    file = printable(report.data_set.file)
    broken = [look for look in looks if look.problem is not None]
    findings = [
        finding_of(look.problem, printable(look.image.path), severity)
        for look in broken
        if look.problem is not None and os.path.exists(look.image.path)
    ]
    if unlabeled and len(broken) > max_share * len(looks):
        what = f'{len(broken):,} of {len(looks):,} images are broken'
        remedy = (
            f'training stops above a share of {max_share:g}: repair or remove them, or raise '
            f'default_hooks.broken_images.max_share'
        )
        findings.append(Finding('error', file, what, remedy))
    faults = defaultdict(list)
    for look in looks:
        for remark in look.remarks:
            faults[remark].append(f'{printable(look.image.path)} {REMARKS[remark][0]}')
    for remark, some in faults.items():
        findings += first_of('warning', file, some, REMARKS[remark][1])
    return findings


def _remarks(content: bytes) -> Iterator[str]:
    """What is unusual about an image that can be read."""
    try:
        header = Image.open(io.BytesIO(content))
        pages = getattr(header, 'n_frames', 1)
    except Exception:  # OpenCV reads some formats that Pillow does not.
        return
    kind, mode = header.format, header.mode
    depth = content[_PNG_DEPTH] if kind == 'PNG' else 8
    if kind == 'TIFF':
        depth = max(header.tag_v2.get(_BITS_PER_SAMPLE, (8,)))  # type: ignore[attr-defined]
    if mode.startswith(('1', 'L', 'I', 'F')):
        yield 'grey'
    if mode.endswith('A') or 'transparency' in header.info:
        yield 'transparent'
    if mode == 'CMYK':
        yield 'CMYK'
    if depth == 16:
        yield '16 bit'
    if pages > 1 and kind != 'MPO':  # Some cameras add a preview as a second frame.
        yield 'pages'
    if orientation(content) != 1:
        yield 'turned'
