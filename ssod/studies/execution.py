"""Runs of a study: trained in processes of their own, scored, and noted."""

import itertools
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from pathlib import Path

from ssod.runs import build_runner
from ssod.studies.compose import Composer
from ssod.studies.plan import Run
from ssod.studies.results import Result, Results
from ssod.visualization.curves import MAP, read_scalars

LOG = 'train.log'
"""What a training printed."""


def train_all(
    composer: Composer, results: Results, train_tool: Path, jobs: int = 1
) -> Iterator[tuple[Run, Result | None]]:
    """Train what is not done yet.

    A run that was interrupted goes on from its last checkpoint. A run that fails does not keep the
    others from being trained, but for those that start from its weights; one that ends without
    scores has failed.

    Args:
        composer: Makes the configs.
        results: Where results are noted.
        train_tool: ``tools/train.py``.
        jobs: Trainings at once.

    Yields:
        Each run as it ends, with its result; ``None`` if it failed: its output is in ``train.log``.
    """
    futures: dict[Future[int], Run] = {}
    begun: dict[str, Future[int]] = {}
    pool = ThreadPoolExecutor(jobs)
    try:
        # Configs are written here, for what they name is made only once.
        for run in _written(composer, left(composer, results)):
            # In the order of the runs: who waits for a start waits for one that is at work.
            start = composer.study.start_of(run)
            first = begun.get(start.name) if start else None
            future = pool.submit(_train, composer.place(run), train_tool, first)
            futures[future], begun[run.name] = run, future
        for future in as_completed(futures):
            run = futures[future]
            result = _noted(composer, run) if future.result() == 0 else None
            if result:
                results.add(result)
            yield run, result
    finally:
        # Whoever interrupts one training does not want the next.
        pool.shutdown(cancel_futures=True)


def left(composer: Composer, results: Results) -> list[Run]:
    """What is to be trained: what has no result, and starts that are needed but gone.

    Args:
        composer: Makes the configs.
        results: Of finished runs.
    """
    runs = composer.study.runs()
    todo = [run for run in runs if results.find(run, composer.digest(run)) is None]
    starts = [start for run in todo if (start := composer.study.start_of(run))]
    gone = [start for start in starts if not composer.weights(start).exists()]
    return [run for run in runs if run in todo or run in gone]


def score_held_out(
    composer: Composer, trained: Results, results: Results
) -> Iterator[tuple[Run, Result]]:
    """Score the last checkpoints of finished runs on the images that are kept aside, each once.

    Args:
        composer: Makes the configs.
        trained: Results of the trainings.
        results: Where the scores are noted.

    Yields:
        Each run with its result.

    Raises:
        FileNotFoundError: If a checkpoint is gone.
        ValueError: If there are no scores.
    """
    for run in composer.study.runs():
        settings = composer.digest(run)
        known = trained.find(run, settings)
        if known is None or results.find(run, settings) is not None:
            continue
        place = composer.place(run)
        checkpoint = composer.weights(run)
        if not checkpoint.is_file():
            raise FileNotFoundError(
                f'{checkpoint} does not exist and cannot be scored; remove the run from '
                f'{trained.path} and train it again'
            )
        cfg = composer.config(run, held_out=True)
        cfg.load_from, cfg.work_dir = str(checkpoint), str(place / 'held_out')
        # mmdet's own loop returns no scores, but logs them.
        build_runner(cfg).val()
        result = _result(run, Path(cfg.work_dir), settings, known.seconds)
        results.add(result)
        yield run, result


def remaining(
    done: int, total: int, began: float, now: Callable[[], float] = time.monotonic
) -> str:
    """How long the rest will take, by what was done since ``began``."""
    seconds = (now() - began) / done * (total - done)
    return f'{seconds / 3600:.1f} h' if seconds >= 3600 else f'{seconds / 60:.0f} min'


def _written(composer: Composer, runs: list[Run]) -> Iterator[Run]:
    for run in runs:
        place = composer.place(run)
        place.mkdir(parents=True, exist_ok=True)
        composer.config(run).dump(place / 'config.py')
        yield run


def _train(place: Path, train_tool: Path, start: Future[int] | None) -> int:
    if start and start.result() != 0:
        (place / LOG).write_text('what it starts from was not trained\n', encoding='utf-8')
        return 1
    command = [sys.executable, str(train_tool), str(place / 'config.py')]
    with (place / LOG).open('a', encoding='utf-8') as log:
        return subprocess.run(
            [*command, '--work-dir', str(place), '--resume'], stdout=log, stderr=log
        ).returncode


def _noted(composer: Composer, run: Run) -> Result | None:
    """What a training that ended has noted; ``None``, with a line in its log, if no scores."""
    place = composer.place(run)
    try:
        seconds = json.loads((place / 'summary.json').read_text())['seconds']
        return _result(run, place, composer.digest(run), seconds)
    except (OSError, ValueError) as error:
        with (place / LOG).open('a', encoding='utf-8') as log:
            log.write(f'error: {error}\n')
        return None


def _result(run: Run, place: Path, settings: str, seconds: float) -> Result:
    """The last scores that were logged.

    Raises:
        ValueError: If there is none of the student or the teacher, or COCO's -1, which is that of
            images without a true box.
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
        **points,
    )
