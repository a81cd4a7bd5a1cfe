"""What a trained detector finds in images and videos, as pictures and a COCO JSON."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import mmcv
import numpy as np
from mmengine.config import Config
from PIL import Image
from rich.progress import Progress

from ssod.checkpoint_content import Whose
from ssod.data.coco_detections import Entry, coco_of_detections, entry_of
from ssod.data.coco_json import is_text
from ssod.data.folder import RealFolders
from ssod.data.inputs import Inputs, find_inputs
from ssod.data.load_image import BrokenImageError, LoadImage, Pixels, printable
from ssod.inference import Detector
from ssod.prediction_folder import PredictionFolder, picture_of_video
from ssod.progress import progress_bar
from ssod.visualization.detections import draw_boxes, found_boxes
from ssod.visualization.videos import VideoFile, count_frames


@dataclass(frozen=True)
class Predictions:
    """What was found.

    Args:
        file: The COCO JSON.
        pictures: The folder of the pictures.
        content: What is in ``file``: ``info``, ``images`` (``id``, ``file_name``, ``height``,
            ``width``), ``annotations`` (``id``, ``image_id``, ``category_id``, ``bbox`` as
            (x, y, width, height) in pixels, ``area``, ``iscrowd`` 0, ``score``) and ``categories``.
            A video's frames are images called ``<video>/<number from 000000>``.
        passed_over: Why something was skipped, one line for each image, video or folder.
    """

    file: Path
    pictures: Path
    content: dict[str, Any]
    passed_over: list[str]


def predict(
    cfg: Config,
    checkpoint: str | Path,
    inputs: str | Path | Iterable[str | Path],
    out: str | Path | None = None,
    whose: Whose = 'teacher',
    score_thr: float = 0.3,
    batch_size: int = 1,
    overwrite: bool = False,
) -> Predictions:
    """Detect objects in images and videos, and write pictures and a COCO JSON.

    ``pictures`` keeps the folders and names of the inputs, relative to their common folder; videos
    become mp4. A progress bar on stderr shows rate and time left. Inputs that cannot be read are
    skipped and reported there.

    Args:
        cfg: A run's config, or a plain detector's.
        checkpoint: A checkpoint for it.
        inputs: Images, videos, and folders of images, sub-folders included.
        out: The folder for ``pictures`` and ``predictions.json``; ``predictions`` next to the
            checkpoint if ``None``.
        whose: Which model predicts, ``'teacher'`` or ``'student'``.
        score_thr: Boxes with lower scores are left out, in [0, 1].
        batch_size: Images per batch, at least 1; those of different sizes are padded to the
            largest, which can change results slightly.
        overwrite: Whether an existing ``predictions.json`` and pictures may be replaced; old
            pictures that it names and that are not drawn again are removed.

    Raises:
        FileExistsError: If there is a ``predictions.json`` and it may not be replaced, or there are
            files in ``pictures`` but no ``predictions.json``.
        FileNotFoundError: If the checkpoint or an input does not exist, or a folder has no image.
        ValueError: If a setting is out of range, config and checkpoint do not go together, nothing
            could be read, or a picture would replace an input or another picture.
    """
    _check_settings(score_thr, batch_size)
    out = Path(checkpoint).parent / 'predictions' if out is None else Path(out)
    folder = PredictionFolder(out)
    if not overwrite:
        folder.check_nothing_is_lost()
    found = find_inputs(inputs, leave_out=folder.pictures)
    names = _names_of_pictures(found, folder.pictures)
    detector = Detector(cfg, checkpoint, whose, score_thr)
    folder.begin(names)
    with progress_bar() as bar:
        _tell_of_mixing(found, folder.pictures, bar)
        work = _Work(detector, folder.pictures, score_thr, batch_size, bar)
        work.do(found)
    if not work.entries:
        folder.give_up()
        raise ValueError(f'nothing could be read: {work.passed_over[0]}')
    info = {'source': f'{whose} of {checkpoint}', 'min_score': score_thr, 'images': str(found.root)}
    content = coco_of_detections(work.entries, detector.classes, info)
    folder.finish(content)
    return Predictions(folder.file, folder.pictures, content, work.passed_over)


def _check_settings(score_thr: float, batch_size: int) -> None:
    if not 0 <= score_thr <= 1:
        raise ValueError(f'score_thr is {score_thr}, but must be in [0, 1]')
    if batch_size < 1:
        raise ValueError(f'batch_size is {batch_size}, but must be at least 1')


def _tell_of_mixing(found: Inputs, pictures: Path, bar: Progress) -> None:
    """Warn if the pictures go into a folder of images, as part of which others would read them."""
    place = Path(os.path.realpath(pictures))
    folders = {path.parent for path in found.images}
    around = next((f for f in folders if place.is_relative_to(os.path.realpath(f))), None)
    if around is not None:
        _tell(
            bar,
            f'warning: {printable(str(pictures))} is inside {printable(str(around))}, which holds '
            f'images: trainings on that folder would use the pictures, too; better pass another '
            f'--out',
        )


def _tell(bar: Progress, line: str) -> None:
    bar.console.print(line, markup=False, highlight=False, soft_wrap=True)


def _names_of_pictures(found: Inputs, pictures: Path) -> list[str]:
    """Of all inputs; refuses names that would replace an input or each other, and bad ones."""
    # With any other path, OpenCV ends the process.
    if found.videos and not is_text(str(pictures)):
        raise ValueError(
            f'{printable(str(pictures))} is not UTF-8, so no video can be written there; pass '
            f'another --out'
        )
    given = [*found.images, *found.videos]
    folders = RealFolders()
    real = {folders.file(str(path)) for path in given}
    names = [found.name(path) for path in found.images]
    names += [picture_of_video(found.name(path)) for path in found.videos]
    drawn: dict[str, Path] = {}
    for path, name in zip(given, names, strict=True):
        other = drawn.setdefault(name, path)
        if other != path:
            raise ValueError(
                f'{printable(str(other))} and {printable(str(path))} would both be drawn to '
                f'{printable(name)}; give them in two calls, each with its own --out'
            )
        if folders.file(str(pictures / name)) in real:
            raise ValueError(
                f'{printable(str(pictures / name))} is a link to an input, which would be '
                f'replaced; pass another --out'
            )

    return names


def _save(picture: Image.Image, path: Path) -> None:
    try:
        picture.save(path, quality=95)
    except (OSError, ValueError) as error:  # The disk is full, or the picture too large.
        raise OSError(f'{path} cannot be written: {error}') from error


class _Work:
    """The work and the results of one call of :func:`predict`."""

    def __init__(
        self, detector: Detector, pictures: Path, score_thr: float, batch_size: int, bar: Progress
    ) -> None:
        self.detector = detector
        self.pictures = pictures
        self.score_thr = score_thr
        self.batch_size = batch_size
        self.bar = bar
        self.entries: list[Entry] = []
        self.passed_over: list[str] = []

    def do(self, found: Inputs) -> None:
        """Predict on all images, then on all videos."""
        for why in found.left_out:
            self._pass_over(why)
        told = {}
        for path in found.videos:
            if is_text(str(path)):
                told[path] = count_frames(path)
            else:
                self._pass_over(
                    f'{printable(str(path))} is not UTF-8, so the video cannot be opened; rename it'
                )
        total = len(found.images) + sum(told.values())
        self.task = self.bar.add_task('predicting', total=total)
        for name, picture in self._drawn(self._images(found)):
            path = self.pictures / name
            path.parent.mkdir(parents=True, exist_ok=True)
            _save(picture, path)
        for path, count in told.items():
            self._video(path, found.name(path), count)

    def _images(self, found: Inputs) -> Iterator[tuple[str, Pixels]]:
        load = LoadImage()
        for path in found.images:
            name = found.name(path)
            if not is_text(name):
                self._pass_over(f'{printable(str(path))}: its name is not UTF-8; rename it')
                self.bar.advance(self.task)
                continue
            try:
                image = load.transform({'img_path': str(path)})['img']
            except BrokenImageError as error:
                self._pass_over(str(error))
                self.bar.advance(self.task)
            else:
                yield name, image

    def _video(self, path: Path, name: str, count: int) -> None:
        # Only one is open at a time, because each keeps its last frames in memory.
        video = mmcv.VideoReader(str(path))
        frames = ((f'{name}/{number:06d}', frame) for number, frame in enumerate(video))
        with VideoFile(self.pictures / picture_of_video(name), video.fps) as file:
            for _, picture in self._drawn(frames):
                frame = cv2.cvtColor(np.asarray(picture), cv2.COLOR_RGB2BGR)
                file.write(np.asarray(frame, np.uint8))
        if file.frames == 0:
            self._pass_over(f'{printable(str(path))} is not a readable video; save it again')
        elif file.frames < count:
            told = f'{file.frames} of {count} frames could be read'
            self._pass_over(f'{printable(str(path))} ends early: {told}')

    def _drawn(self, images: Iterator[tuple[str, Pixels]]) -> Iterator[tuple[str, Image.Image]]:
        """Predict on images, and record and draw what was found."""
        while batch := list(islice(images, self.batch_size)):
            samples = self.detector([image for _, image in batch])
            for (name, image), sample in zip(batch, samples, strict=True):
                self.entries.append(entry_of(sample, name, self.score_thr))
                boxes = found_boxes(sample.pred_instances, self.detector.classes, self.score_thr)
                rgb = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)
                yield name, draw_boxes(rgb, [boxes], own_size=True)
                self.bar.advance(self.task)

    def _pass_over(self, why: str) -> None:
        self.passed_over.append(why)
        _tell(self.bar, f'skipped: {why}')
