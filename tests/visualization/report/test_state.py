"""What a run's folder tells, from files written by hand."""

import json
from pathlib import Path

import pytest

from ssod.visualization.report.state import (
    Score,
    read_run,
    said_alarms,
    score_of,
    start_of,
    teacher_settings,
)


def log(work_dir, start, *records, config=None):
    folder = work_dir / start / 'vis_data'
    folder.mkdir(parents=True)
    if config is not None:
        (folder / 'config.py').write_text(config)
    if records:
        lines = ''.join(json.dumps(record) + '\n' for record in records)
        (folder / 'scalars.json').write_text(lines)


def val(step, score, who='teacher/'):
    return {f'{who}coco/bbox_mAP': score, 'step': step}


def summary(work_dir, **values):
    (work_dir / 'summary.json').write_text(json.dumps(values))


def test_an_empty_folder(tmp_path):
    run = read_run(tmp_path)
    assert (run.iteration, run.total, run.finished) == (0, None, False)
    assert (run.seconds, run.seconds_left, run.burn_in) == (0.0, None, 0)
    assert (run.config, run.checkpoint) == (None, None)
    assert run.problem == 'There is no config in the folder.'
    assert start_of(run) is None


@pytest.mark.parametrize(
    ('records', 'who', 'expected'),
    [
        ([], 'teacher', None),
        ([val(5, 0.25)], 'teacher', Score(25.0, 25.0, 5)),
        # The best one is not the last, and of two the first one counts.
        ([val(5, 0.5), val(6, 0.5), val(7, 0.25)], 'teacher', Score(25.0, 50.0, 5)),
        # COCO's -1 is no score.
        ([val(5, -1.0)], 'teacher', None),
        # Each is asked for by its name, and a plain detector by none.
        ([val(5, 0.25)], 'student', None),
        ([val(5, 0.25, '')], '', Score(25.0, 25.0, 5)),
    ],
)
def test_scores(records, who, expected):
    assert score_of(records, who) == expected


def test_the_start_weights_are_those_before_the_first_pseudo_boxes(tmp_path):
    boxes = {'pseudo_boxes': 1.0, 'iter': 15, 'step': 15}
    log(tmp_path, '1', val(5, 0.125), val(10, 0.25), boxes, val(20, 0.5))
    assert start_of(read_run(tmp_path)) == 25.0


def test_the_summary_tells_of_start_weights(tmp_path):
    # The validation came between the teacher's begin and the first line of the log after it.
    log(tmp_path, '1', val(2, 0.9), {'pseudo_boxes': 1.0, 'iter': 4, 'step': 4})
    assert start_of(read_run(tmp_path)) == 90.0
    summary(tmp_path, iterations=4, seconds=1.5, start_mAP=19.7)
    assert start_of(read_run(tmp_path)) == 19.7


def test_a_summary_ends_the_run(tmp_path):
    log(tmp_path, '1', {'time': 1.0, 'iter': 50, 'step': 50})
    summary(tmp_path, iterations=60, seconds=99.5)
    run = read_run(tmp_path)
    assert (run.iteration, run.finished, run.seconds) == (60, True, 99.5)


def test_a_summary_of_another_run_in_the_folder(tmp_path):
    # The same command once more: the old summary is there until the new run ends.
    log(tmp_path, '20260101_000000', {'time': 1.0, 'iter': 60, 'step': 60})
    summary(tmp_path, iterations=60, seconds=99.5, begun='20260101_000000')
    assert read_run(tmp_path).finished
    log(tmp_path, '20260102_000000', {'time': 1.0, 'iter': 50, 'step': 50})
    run = read_run(tmp_path)
    assert (run.iteration, run.finished) == (50, False)
    # It has ended too if it was resumed at its end, with nothing left to train.
    summary(tmp_path, iterations=60, seconds=99.5, begun='20260102_000001')
    assert read_run(tmp_path).finished
    # A test of the run trains nothing.
    summary(tmp_path, iterations=60, seconds=99.5, begun='20260102_000000')
    log(tmp_path, '20260103_000000', {'teacher/coco/bbox_mAP': 0.1, 'step': 0})
    assert read_run(tmp_path).finished


@pytest.mark.parametrize(
    'text',
    [
        '{"iterations": 40, "seconds": 9}',  # the run has gone on since
        '{"iterations": 60',  # torn
        '{"seconds": 9}',  # of something else
        '[]',
    ],
)
def test_a_summary_that_is_none(tmp_path, text):
    log(tmp_path, '1', {'time': 0.5, 'iter': 50, 'step': 50})
    (tmp_path / 'summary.json').write_text(text)
    run = read_run(tmp_path)
    assert (run.iteration, run.finished, run.seconds) == (50, False, 25.0)


def test_the_config_is_that_of_the_last_start_that_logged(tmp_path):
    record = {'iter': 1, 'step': 1}
    log(tmp_path, '1', record, config='train_cfg = dict(max_iters=1)')
    log(tmp_path, '2', record, config='train_cfg = dict(max_iters=2)')
    # Later starts that came to nothing, and the copy that a test leaves.
    log(tmp_path, '3', config='train_cfg = dict(max_iters=3)')
    log(tmp_path, '4', {'started_at': 0, 'step': 0}, config='train_cfg = dict(max_iters=5)')
    (tmp_path / 'own.py').write_text('train_cfg = dict(max_iters=4)')
    assert read_run(tmp_path).total == 2


def test_a_config_in_the_folder_will_do(tmp_path):
    (tmp_path / 'own.py').write_text('train_cfg = dict(max_iters=4)')
    run = read_run(tmp_path)
    assert (run.total, run.config, run.problem) == (4, tmp_path / 'own.py', '')


def test_a_checkpoint_of_its_own_goes_before_the_one_it_was_copied_from(tmp_path):
    first, copy = tmp_path / 'first', tmp_path / 'copy'
    for folder in (first, copy):
        folder.mkdir()
        (folder / 'iter_4.pth').touch()
        (folder / 'last_checkpoint').write_text(str(first / 'iter_4.pth'))
    assert read_run(copy).checkpoint == copy / 'iter_4.pth'
    (copy / 'iter_4.pth').unlink()
    assert read_run(copy).checkpoint == first / 'iter_4.pth'


TEACHER = {'type': 'EMATeacherHook', 'burn_in': 3}


@pytest.mark.parametrize(
    ('cfg', 'expected'),
    [
        ({}, None),
        ({'default_hooks': None, 'custom_hooks': None}, None),
        # Under any name, and as a hook of one's own.
        ({'default_hooks': {'timer': {'type': 'IterTimerHook'}, 'x': TEACHER}}, TEACHER),
        ({'custom_hooks': [TEACHER]}, TEACHER),
        # What is unknown, without a type or no setting at all is passed over.
        ({'custom_hooks': [{'type': 'Nobody'}, {}, None, TEACHER]}, TEACHER),
    ],
)
def test_teacher_settings(cfg, expected):
    assert teacher_settings(cfg) == expected


def test_the_log_says_the_last_of_each_alarm(tmp_path: Path):
    head = '2025/01/01 00:00:00 - mmengine - '
    for start, lines in {
        '1': ['WARNING - watch, gap: old', 'WARNING - watch, images: 1: lower: x'],
        '2': ['WARNING - watch, gap: new', 'INFO - watch, gap: over', 'WARNING - other'],
    }.items():
        (tmp_path / start).mkdir()
        (tmp_path / start / 'run.log').write_text('\n'.join(head + line for line in lines))
    assert said_alarms(tmp_path) == {'gap': 'new', 'images': '1: lower: x'}
