"""What is read of a run's scalars, whatever interrupted it."""

import json
from pathlib import Path

import pytest

from ssod.visualization.scalars import curve_of, read_scalars, scores_of, teacher_begin

from .logs import log, start, train, val


def history(work_dir: Path) -> list[tuple[int, float]]:
    """Step and the teacher's mAP of all validations."""
    return curve_of(read_scalars(work_dir), ['teacher/coco/bbox_mAP'])


def test_no_logs_are_no_records(tmp_path: Path) -> None:
    assert read_scalars(tmp_path) == []


def test_a_file_without_a_line_is_no_records(tmp_path: Path) -> None:
    log(tmp_path, '20250101_000000')
    assert read_scalars(tmp_path) == []


def test_one_record(tmp_path: Path) -> None:
    log(tmp_path, '20250101_000000', train(50))
    assert read_scalars(tmp_path) == [train(50)]


def test_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match='nowhere is not a folder'):
        read_scalars(tmp_path / 'nowhere')


def test_torn_last_line_is_left_out(tmp_path: Path) -> None:
    log(tmp_path, '20250101_000000', train(50), torn='{"loss": 0.3, "st')
    assert read_scalars(tmp_path) == [train(50)]


@pytest.mark.parametrize(
    'line',
    [
        '',  # a blank line
        '{"loss": 0.3}',  # no step: it has no place on the axis
        '3',  # JSON, but not an object
        '{"step": null}',  # a step that is no number
    ],
)
def test_lines_that_are_no_record_are_left_out(tmp_path: Path, line: str) -> None:
    log(tmp_path, '20250101_000000', train(50), torn=line + '\n' + json.dumps(train(100)))
    assert [r['step'] for r in read_scalars(tmp_path)] == [50, 100]


def test_a_resumed_run_wins_from_its_first_step_on(tmp_path: Path) -> None:
    # The first run was killed at 200 after a checkpoint at 100; its 150 and 200 were done again.
    # The later folder is written first: the names give the order.
    log(tmp_path, '20250102_000000', train(150, lr=2.0), train(200, lr=2.0), train(250, lr=2.0))
    log(tmp_path, '20250101_235959', *(train(s, lr=1.0) for s in (50, 100, 150, 200)), torn='{"')
    assert [(r['step'], r['lr']) for r in read_scalars(tmp_path)] == [
        (50, 1.0), (100, 1.0), (150, 2.0), (200, 2.0), (250, 2.0),
    ]  # fmt: skip


def test_a_run_that_logged_nothing_replaces_nothing(tmp_path: Path) -> None:
    log(tmp_path, '20250101_000000', train(50))
    log(tmp_path, '20250102_000000')
    assert [r['step'] for r in read_scalars(tmp_path)] == [50]


def test_validations_numbered_by_epoch_stand_where_they_were_logged(tmp_path: Path) -> None:
    # LoggerHook's default writes step 0 for every validation of an iteration-based run.
    log(tmp_path, '20250101_000000', val(0, 0.1, 0.1), train(50), val(0, 0.2, 0.2), train(100))
    assert [r['step'] for r in read_scalars(tmp_path)] == [0, 50, 50, 100]


@pytest.mark.parametrize('step', [0, 100])  # numbered by epoch, and by iteration
def test_a_validation_right_after_a_resumption_replaces_nothing(tmp_path: Path, step: int) -> None:
    # Resumed at 100, where the teacher begins, the run scores the start weights first of all.
    log(tmp_path, '20250101_000000', train(50), train(100), train(150))
    log(tmp_path, '20250102_000000', val(step, 0.1, 0.1))
    log(tmp_path, '20250103_000000', val(step, 0.2, 0.2), train(150))
    found = [(r['step'], r.get('teacher/coco/bbox_mAP')) for r in read_scalars(tmp_path)]
    assert found == [(50, None), (100, None), (100, 0.2), (150, None)]


def test_a_validation_alone_comes_last(tmp_path: Path) -> None:
    log(tmp_path, '20250101_000000', train(50), train(100))
    log(tmp_path, '20250102_000000', val(0, 0.1, 0.1))
    assert [r['step'] for r in read_scalars(tmp_path)] == [50, 100, 100]


@pytest.mark.parametrize('by_epoch', [False, True])
def test_validations_that_an_interruption_lost_are_left_out(tmp_path: Path, by_epoch: bool) -> None:
    # Killed at 145 and resumed from 100; the training is logged at each 50th iteration.
    first = [train(s) if s % 50 == 0 else val(s, s / 1000, 0.0) for s in range(90, 150, 10)]
    log(tmp_path, '20250101_000000', start(0), *first)
    second = [val(0 if by_epoch else s, s / 2000, 0.0) for s in (110, 120)]
    log(tmp_path, '20250102_000000', start(100), *second)
    assert [value for _, value in history(tmp_path)] == [0.09, 0.055, 0.06]
    steps = [100, 100] if by_epoch else [110, 120]
    assert [step for step, _ in history(tmp_path)] == [90, *steps]


def test_a_fresh_start_replaces_all_of_the_run_that_was_there(tmp_path: Path) -> None:
    log(tmp_path, '20250101_000000', start(0), val(0, 0.1, 0.1), val(10, 0.2, 0.2), train(50))
    log(tmp_path, '20250102_000000', start(0), val(20, 0.3, 0.3), train(50))
    assert history(tmp_path) == [(20, 0.3)]


def test_a_start_that_logged_nothing_more_replaces_nothing(tmp_path: Path) -> None:
    log(tmp_path, '20250101_000000', start(0), val(10, 0.2, 0.2), train(50))
    log(tmp_path, '20250102_000000', start(0))
    assert history(tmp_path) == [(10, 0.2)]


@pytest.mark.parametrize(
    ('burn_in', 'begin'),
    [
        (0, (0, 10)),  # with the run: what the first pseudo-boxes that are logged say is later
        (20, (20, 15)),
        (30, (20, 15)),  # not scored: the last ones before
    ],
)
def test_start_weights_are_those_at_the_end_of_the_burn_in(
    tmp_path: Path, burn_in: int, begin: tuple[int, float]
) -> None:
    scored = [val(0, 0.1, 0.1), val(20, 0.15, 0.15), val(40, 0.19, 0.19)]
    taught = train(50, pseudo_boxes=1.0)
    log(tmp_path, '20250101_000000', start(0, burn_in), *scored, taught)
    assert teacher_begin(read_scalars(tmp_path)) == pytest.approx(begin)
    # Before its first pseudo-boxes no teacher has begun, and older runs say no burn-in.
    assert teacher_begin([start(0, burn_in), *scored]) is None
    assert teacher_begin([*scored, taught]) == pytest.approx((40, 19))


def test_scores_in_points():
    # COCO's -1 is no score, 0 is one.
    scored = [{'a': score, 'step': step} for step, score in enumerate((0.25, -1.0, 0.0))]
    assert scores_of(scored, 'a') == [(0, 25.0), (2, 0.0)]
    assert scores_of([], 'a') == []
