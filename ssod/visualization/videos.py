"""Writes videos completely or not at all."""

from pathlib import Path
from types import TracebackType

import cv2
import mmcv

from ssod.data.load_image import Pixels
from ssod.files import unfinished

FRAMES_PER_SECOND = 25.0
"""Assumed for a video that does not state its rate."""

CLOCK = 500.0
"""From this rate on, a video states the resolution of its clock, not its frames per second."""


def count_frames(path: Path) -> int:
    """How many frames a video claims to have; 0 if it does not say."""
    video = mmcv.VideoReader(str(path))
    return max(0, video.frame_cnt) if video.fps < CLOCK else 0


class VideoFile:
    """An mp4 that is written to a temporary file and moved into place when complete.

    Use it as a context manager. Without any frame, or after an error inside, there is no file.

    Args:
        path: The file; its folder is created if missing.
        rate: Frames per second. :data:`FRAMES_PER_SECOND` is used if it is not positive, or
            :data:`CLOCK` or more.

    Attributes:
        frames: How many have been written.
    """

    def __init__(self, path: Path, rate: float) -> None:
        self.path = path
        # An mp4 stores a frame's duration as a fraction of numbers below 65536.
        rate = round(rate, 3 if rate < 65 else 2)
        self.rate = rate if 0 < rate < CLOCK else FRAMES_PER_SECOND
        self.frames = 0
        # OpenCV tells the file format from the end of the name.
        self._aside = unfinished(path, '.mp4')
        self._writer: cv2.VideoWriter | None = None

    def write(self, frame: Pixels) -> None:
        """Add a frame, (height, width, 3), BGR, as large as the first one.

        Raises:
            OSError: If the file cannot be written.
        """
        if self._writer is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            code = cv2.VideoWriter.fourcc(*'mp4v')
            size = (frame.shape[1], frame.shape[0])
            self._writer = cv2.VideoWriter(str(self._aside), code, self.rate, size)
            if not self._writer.isOpened():
                raise self._failure()
        self._writer.write(frame)
        self.frames += 1

    def __enter__(self) -> 'VideoFile':
        """Begin; the file is opened at the first frame, which determines its size."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Finish the file, or remove what was written.

        Raises:
            OSError: If the disk is full.
        """
        if self._writer is None:
            return
        self._writer.release()
        # OpenCV does not report a full disk; the file then lacks its end, without which nothing
        # can be read.
        is_whole = kind is None and cv2.VideoCapture(str(self._aside)).isOpened()
        if is_whole:
            self._aside.replace(self.path)
            return
        self._aside.unlink(missing_ok=True)
        if kind is None:
            raise self._failure()

    def _failure(self) -> OSError:
        return OSError(f'{self.path} cannot be written; check its folder and the disk')
