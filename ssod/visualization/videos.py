"""Videos that are whole or not there."""

from pathlib import Path
from types import TracebackType

import cv2
import numpy as np
from numpy.typing import NDArray

from ssod.files import UNFINISHED

FRAMES_PER_SECOND = 25.0
"""Of a video that does not say it."""


class VideoFile:
    """An mp4 that is written aside and moved to its place when it is whole.

    To be used as a context; without any frame, or with an error inside, there is no file.

    Args:
        path: The file; its folder is made if missing.
        rate: Frames in a second; :data:`FRAMES_PER_SECOND` where it is no positive number.

    Attributes:
        frames: How many have been written.
    """

    def __init__(self, path: Path, rate: float) -> None:
        self.path = path
        self.rate = rate if 0 < rate < float('inf') else FRAMES_PER_SECOND
        self.frames = 0
        # OpenCV tells the kind of file from the end of its name.
        self._aside = path.with_name(f'.{path.name}{UNFINISHED}.mp4')
        self._writer: cv2.VideoWriter | None = None

    def write(self, frame: NDArray[np.uint8]) -> None:
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
                raise OSError(f'{self.path} cannot be written; check its folder and the disk')
        self._writer.write(frame)
        self.frames += 1

    def __enter__(self) -> 'VideoFile':
        """Begin; the file is opened with the first frame, which says how large it is."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Finish the file, or remove what there is of it."""
        if self._writer is None:
            return
        self._writer.release()
        if kind is None:
            self._aside.replace(self.path)
        else:
            self._aside.unlink(missing_ok=True)
