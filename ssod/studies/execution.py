"""Runs of a study: trained in separate processes, scored, and recorded."""

import itertools
import json
import logging
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from functools import partial
from pathlib import Path
from typing import IO

from mmengine.logging import print_log

from ssod.checkpoint_content import digest_of
from ssod.checkpoints import latest_checkpoint, load_checkpoint
from ssod.files import write_whole
from ssod.runs import build_runner
from ssod.studies.compose import Composer
from ssod.studies.plan import START, Run
from ssod.studies.results import Result, Results
from ssod.visualization.scalars import MAP, read_scalars

LOG = 'train.log'
"""What a training printed."""
BEGUN = 'begun'
"""Names the weights that a training began with."""


def train_all(
    composer: Composer, results: Results, train_tool: Path, jobs: int = 1
) -> Generator[tuple[Run, Result | None], None, None]:
    """Train what is not done yet.

    All configs are made before the first training. An interrupted run continues from its last
    checkpoint; closing the iterator interrupts the current runs. If a run fails, the others are
    still trained, except those that start from its weights. A run fails, too, if it ends without
    scores, or would begin with different weights from the runs it is compared with.

    Args:
        composer: Makes the configs.
        results: Where results are recorded.
        train_tool: ``tools/train.py``.
        jobs: How many trainings run at once.

    Yields:
        Each run as it ends, with its result; ``None`` if it failed: its output is in ``train.log``.
    """
    futures: dict[Future[int], Run] = {}
    begun: dict[str, Future[int]] = {}
    runs = left(composer, results)
    for run in runs:
        place = composer.place(run)
        place.mkdir(parents=True, exist_ok=True)
        composer.config(run).dump(place / 'config.py')
    trainings, pool = _Trainings(train_tool), ThreadPoolExecutor(jobs)
    try:
        for run in runs:
            # In the order of the runs: a run waits only for a start that is already running.
            start = composer.study.start_of(run)
            first = begun.get(start.name) if start else None
            begin = partial(_begin, composer, results, run)
            future = pool.submit(trainings.train, composer.place(run), first, begin)
            futures[future], begun[run.name] = run, future
        for future in as_completed(futures):
            run = futures[future]
            result = _noted(composer, run) if future.result() == 0 else None
            # A start that was lost already has a line; runs that use the new one record its digest.
            if result and results.find(run, result.settings) is None:
                results.add(result)
            yield run, result
    finally:
        # After an interruption, start no further training.
        pool.shutdown(wait=False, cancel_futures=True)
        trainings.stop()
        pool.shutdown()


def left(composer: Composer, results: Results) -> list[Run]:
    """The runs to train: those without a result, and starts that are needed but lost.

    Args:
        composer: Makes the configs.
        results: Results of finished runs.
    """
    runs = composer.study.runs()
    todo = [run for run in runs if results.find(run, composer.digest(run)) is None]
    starts = [start for run in todo if (start := composer.study.start_of(run))]
    gone = [start for start in starts if not composer.weights(start).exists()]
    return [run for run in runs if run in todo or run in gone]


def score_held_out(
    composer: Composer, trained: Results, results: Results
) -> Iterator[tuple[Run, Result]]:
    """Score the last checkpoints of finished runs on the held-out images, each once.

    Args:
        composer: Makes the configs.
        trained: Results of the trainings.
        results: Where the scores are recorded.

    Yields:
        Each run with its result.

    Raises:
        FileNotFoundError: If a checkpoint is missing; then nothing is scored.
        ValueError: If some runs are not trained yet, or there are no scores.
    """
    runs = composer.study.runs()
    known = [(run, trained.find(run, composer.digest(run))) for run in runs]
    ended = [(run, result) for run, result in known if result is not None]
    if len(ended) < len(runs):
        raise ValueError(
            f'{trained.path}: {len(runs) - len(ended)} of {len(runs)} runs are not trained yet, '
            f'but the held-out images are scored only once, at the end; train the runs, or remove '
            f'them from {composer.study.file}'
        )
    todo = [(run, done) for run, done in ended if results.find(run, done.settings) is None]
    files = [composer.weights(run) for run, _ in todo]
    gone = [file for file in files if not file.is_file()]
    if gone:
        raise FileNotFoundError(
            f'{gone[0]} does not exist, so it and {len(gone) - 1} others cannot be scored; restore '
            f'the work directory of the trainings, or remove the runs from {trained.path} '
            f'and train them again'
        )
    for (run, done), checkpoint in zip(todo, files, strict=True):
        cfg = composer.config(run, held_out=True)
        cfg.load_from = str(checkpoint)
        cfg.work_dir = str(composer.place(run) / 'held_out')
        # mmdet's own loop returns no scores, but logs them.
        build_runner(cfg).val()
        result = _result(run, Path(cfg.work_dir), done.settings, done.seconds, done.begun)
        results.add(result)
        yield run, result


def remaining(
    done: int, total: int, began: float, now: Callable[[], float] = time.monotonic
) -> str:
    """How long the rest will take, judging by what was done since ``began``."""
    seconds = (now() - began) / done * (total - done)
    return f'{seconds / 3600:.1f} h' if seconds >= 3600 else f'{seconds / 60:.0f} min'


class _Trainings:
    """Trainings in separate processes, which end with the study.

    Args:
        tool: ``tools/train.py``.
    """

    def __init__(self, tool: Path) -> None:
        self._tool = tool
        self._at_work: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()
        self._stopped = False

    def train(self, place: Path, start: Future[int] | None, begin: Callable[[], None]) -> int:
        """Train in a folder with its config, after its start; returns the exit status.

        Whatever prevents it fails this run alone.

        Args:
            place: The folder.
            start: The training it starts from, if that is one of these.
            begin: Called after that one has ended; raises an error if this one must not begin.
        """
        try:
            if start is not None and start.result() != 0:
                raise ValueError('the run it starts from was not trained')
            begin()
            command = [sys.executable, str(self._tool), str(place / 'config.py')]
            with (place / LOG).open('a', encoding='utf-8') as log:
                process = self._begin([*command, '--work-dir', str(place), '--resume'], log)
                return process.wait() if process else 1
        except (OSError, ValueError) as error:
            _log_error(place, error)
            return 1

    def stop(self) -> None:
        """End the current ones, and begin no others."""
        with self._lock:
            self._stopped = True
            for process in self._at_work:
                process.terminate()

    def _begin(self, command: list[str], log: IO[str]) -> 'subprocess.Popen[bytes] | None':
        with self._lock:
            if self._stopped:
                return None
            process = subprocess.Popen(command, stdout=log, stderr=log)
            self._at_work.add(process)
            return process


def _noted(composer: Composer, run: Run) -> Result | None:
    """The result of a training that ended; ``None``, with a line in its log, without scores."""
    place = composer.place(run)
    try:
        seconds = json.loads((place / 'summary.json').read_text())['seconds']
        return _result(run, place, composer.digest(run), seconds, _begun_with(composer, run))
    except (OSError, ValueError) as error:
        _log_error(place, error)
        return None


def _log_error(place: Path, error: Exception) -> None:
    """Add an error to a run's log, or print it if that cannot be written."""
    try:
        with (place / LOG).open('a', encoding='utf-8') as log:
            log.write(f'error: {error}\n')
    except OSError:
        print_log(f'{place}: {error}', 'current', logging.ERROR)


def weights_digest(checkpoint: Path) -> str:
    """The beginning of the SHA-256 of a checkpoint's weights; empty if it does not exist.

    Anything else in it, such as the time it was written, does not count: weights that are trained
    again on the same machine have the same digest.
    """
    if not checkpoint.exists():
        return ''
    return digest_of(load_checkpoint(str(checkpoint), 'cpu')['state_dict'])[:8]


def _begun_with(composer: Composer, run: Run) -> str:
    """The digest of the weights that a run began with, or would begin with now.

    A note keeps it, because a start that was lost may be trained again, with other weights, before
    an interrupted run is resumed.
    """
    place = composer.place(run)
    note, resumes = place / BEGUN, latest_checkpoint(place) is not None
    if resumes and note.is_file():
        return note.read_text().strip()
    begun = weights_digest(composer.begins_with(run))
    if not resumes:
        write_whole(note, f'{begun}\n'.encode())
    return begun


def _begin(composer: Composer, results: Results, run: Run) -> None:
    """Note what a run begins with.

    Raises:
        OSError, ValueError: If it could not be compared with runs that have ended, or the weights
            cannot be read.
    """
    begun, others = _begun_with(composer, run), results.begun(run)
    if run.method.name != START and others and begun not in others:
        raise ValueError(
            f'it would begin with the weights {begun}, but results in {results.path} began with '
            f'{", ".join(sorted(others))}, so they cannot be compared; restore the work directory '
            f'of those, or remove the lines of {run.data.name}, {run.percent:g} %, seed {run.seed}'
        )


def _result(run: Run, place: Path, settings: str, seconds: float, begun: str) -> Result:
    """The last scores that were logged.

    Raises:
        ValueError: If the student or the teacher has none, or COCO's -1, which stands for images
            without a true box.
    """
    logged = [record for record in read_scalars(place) if f'student/{MAP}' in record]
    points = {}
    for who, name in itertools.product(('student', 'teacher'), ('', '_50')):
        score = logged[-1].get(f'{who}/{MAP}{name}') if logged else None
        if score is None or not score >= 0:
            raise ValueError(
                f'{run.name}: ended without scores, {who}/{MAP}{name} is {score}; score student '
                f'and teacher with FastCocoMetric, on images with boxes, and train again'
            )
        points[f'{who}{name}'] = round(100 * score, 1)
    return Result(
        data=run.data.name,
        percent=run.percent,
        method=run.method.name,
        seed=run.seed,
        settings=settings,
        seconds=seconds,
        begun=begun,
        **points,
    )
