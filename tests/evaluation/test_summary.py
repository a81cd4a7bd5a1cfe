"""The summary's figures: whose scores they are, and which are missing."""

import re
from pathlib import Path
from typing import Any

import pytest
from mmdet.registry import HOOKS

from ssod.evaluation import summary
from ssod.seeds import SeedHook
from ssod.visualization.curves import plot_curves

from .conftest import LAST, START, Detector, Drawing, PlainDetector, Teaching, run, scores

pytestmark = pytest.mark.usefixtures('no_curves')


def test_figures_of_a_mean_teacher(tmp_path: Path) -> None:
    result, _, _ = run(tmp_path, [START, LAST], [Teaching(2)])
    assert result.pop('seconds') >= 0
    assert result.pop('begun') in {path.name for path in (tmp_path / 'run').iterdir()}
    assert result == {
        'start_mAP': 27.7,
        'student_mAP': 40.1,
        'teacher_mAP': 42.7,
        'start_mAP50': 55.5,
        'student_mAP50': 70.0,
        'teacher_mAP50': 72.3,
        'iterations': 4,
        'seed': 7,
    }


@pytest.mark.parametrize(
    ('burn_in', 'metrics', 'expected', 'runs'),
    [
        # begins with the run, which is validated before its first iteration, and at 2 and 4
        (0, [START, {}, LAST], 27.7, 3),
        # begins where the run is validated anyway
        (2, [START, LAST], 27.7, 2),
        # begins between the validations at 2 and 4
        (3, [{}, START, LAST], 27.7, 3),
        # never begins
        (4, [START, LAST], None, 2),
    ],
)
def test_start_weights_are_scored_when_the_teacher_begins(
    tmp_path: Path,
    burn_in: int,
    metrics: list[dict[str, float]],
    expected: float | None,
    runs: int,
) -> None:
    model = Detector()
    result, runner, _ = run(tmp_path, metrics, [Teaching(burn_in)], model)
    assert result['start_mAP'] == expected
    assert runner.val_loop.runs == runs
    assert model.trained == [True] * 4  # a validation leaves the model in eval mode


def test_the_score_of_the_start_weights_changes_nothing_that_is_drawn(tmp_path: Path) -> None:
    drawn = []
    for burn_in in (0, 4):
        hook = Drawing()
        run(tmp_path / str(burn_in), [START], [SeedHook(), Teaching(burn_in), hook])
        drawn.append(hook.drawn)
    assert drawn[0] == drawn[1]
    assert len(set(drawn[0])) == 4


def test_table(tmp_path: Path) -> None:
    _, _, messages = run(tmp_path, [START, LAST], [Teaching(2)])
    assert [line for line in messages.lines if line.startswith('Summary')] == [
        f'Summary, also in {tmp_path}/run/summary.json:\n'
        '                 mAP   mAP50\n'
        'start weights   27.7    55.5\n'
        'student         40.1    70.0\n'
        'teacher         42.7    72.3'
    ]


@pytest.mark.parametrize(
    ('start', 'last', 'burn_in', 'expected'),
    [
        # nothing was measured: the evaluator saw no detection at all
        ({}, {}, 2, (None, None, None)),
        # nothing was found at the start
        ({}, LAST, 2, (None, 40.1, 42.7)),
        # the teacher alone is scored
        (START, {'teacher/coco/bbox_mAP': 0.5}, 2, (27.7, None, 50.0)),
        # the student alone is scored
        ({'student/coco/bbox_mAP': 0.2}, {'student/coco/bbox_mAP': 0.5}, 2, (20.0, 50.0, None)),
        # burn-in as long as the run: the teacher is only the student's copy
        (START, LAST, 4, (None, 40.1, None)),
        # mmengine's own loop scores the one that predicts, here the teacher
        ({'coco/bbox_mAP': 0.25}, {'coco/bbox_mAP': 0.5}, 2, (25.0, None, 50.0)),
        # COCO's -1 (no true boxes) and NaN are no scores
        (
            {'teacher/coco/bbox_mAP': -1.0},
            {'student/coco/bbox_mAP': -1.0, 'teacher/coco/bbox_mAP': float('nan')},
            2,
            (None, None, None),
        ),
        # zero is one
        (
            {'teacher/coco/bbox_mAP': 0.0},
            {'student/coco/bbox_mAP': 0.0, 'teacher/coco/bbox_mAP': 1.0},
            2,
            (0.0, 0.0, 100.0),
        ),
    ],
)
def test_missing_scores(
    tmp_path: Path,
    start: dict[str, float],
    last: dict[str, float],
    burn_in: int,
    expected: tuple[Any, Any, Any],
) -> None:
    result, _, _ = run(tmp_path, [start, last], [Teaching(burn_in)])
    assert scores(result) == expected


def test_one_iteration_with_a_teacher_is_enough(tmp_path: Path) -> None:
    result, _, _ = run(tmp_path, [{}, START, LAST], [Teaching(3)])
    assert scores(result) == (27.7, 40.1, 42.7)


def test_table_marks_missing_scores(tmp_path: Path) -> None:
    _, _, messages = run(tmp_path, [{}], [Teaching(2)])
    table = next(line for line in messages.lines if line.startswith('Summary'))
    assert table.endswith('teacher            -       -')


def test_plain_detector_is_the_student(tmp_path: Path) -> None:
    result, _, _ = run(tmp_path, [{'coco/bbox_mAP': 0.5}], model=PlainDetector())
    assert scores(result) == (None, 50.0, None)
    assert (tmp_path / 'run/detections.png').exists()


def test_a_run_without_validation_still_has_its_seconds_and_curves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(summary, 'plot_curves', plot_curves)
    result, _, _ = run(tmp_path, None, [Teaching(2)])
    assert scores(result) == (None, None, None)
    assert result['iterations'] == 4
    assert (tmp_path / 'run/curves.png').exists()
    assert not (tmp_path / 'run/detections.png').exists()


def test_summary_replaces_an_earlier_one_and_leaves_no_other_file(tmp_path: Path) -> None:
    (tmp_path / 'run').mkdir()
    (tmp_path / 'run/summary.json').write_text('{"torn')
    run(tmp_path, [LAST])
    assert [path.name for path in (tmp_path / 'run').glob('summary*')] == ['summary.json']


def test_only_the_main_process_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(summary, 'is_main_process', lambda: False)
    monkeypatch.setattr(summary, 'plot_curves', plot_curves)
    with pytest.raises(FileNotFoundError, match=re.escape('summary.json')):
        run(tmp_path, [LAST])
    written = {path.name for path in (tmp_path / 'run').iterdir()}
    assert not written & {'summary.json', 'curves.png', 'detections.png'}


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        ({'num_images': 0}, 'num_images is 0, but must be at least 1'),
        ({'score_thr': 1.5}, r'score_thr is 1.5, but must be in \[0, 1\]'),
        ({'num_image': 4}, "unknown setting 'num_image'; did you mean 'num_images'"),
    ],
)
def test_refuses(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        HOOKS.build({'type': 'mmdet.SummaryHook', **settings})
