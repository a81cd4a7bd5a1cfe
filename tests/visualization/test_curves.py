import json
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

from ssod.visualization import curves
from ssod.visualization.curves import plot_curves, read_scalars, teacher_begin

Record = dict[str, Any]


def log(work_dir: Path, timestamp: str, *records: Record, torn: str = '') -> None:
    path = work_dir / timestamp / 'vis_data/scalars.json'
    path.parent.mkdir(parents=True)
    path.write_text(''.join(json.dumps(r) + '\n' for r in records) + torn)


def train(step: int, **values: float) -> Record:
    return {'loss': 1.0, 'iter': step, 'step': step, **values}


def val(step: int, teacher: float, student: float) -> Record:
    return {'teacher/coco/bbox_mAP': teacher, 'student/coco/bbox_mAP': student, 'step': step}


def start(step: int, burn_in: int = 0) -> Record:
    return {'started_at': step, 'burn_in': burn_in, 'step': step}


def history(work_dir: Path) -> list[tuple[int, float]]:
    """Step and the teacher's mAP of all validations."""
    return curves.curve_of(read_scalars(work_dir), ['teacher/coco/bbox_mAP'])


def words(work_dir: Path, tmp_path: Path) -> str:
    """All text of the plot: as an SVG with letters instead of outlines it can be read."""
    path = tmp_path / 'plot.svg'
    with matplotlib.rc_context({'svg.fonttype': 'none'}):
        plot_curves(work_dir, path)
    return path.read_text()


def hex_to_rgb(colour: str) -> npt.NDArray[np.uint8]:
    return np.round(255 * np.array(to_rgb(colour))).astype(np.uint8)


def pixels(path: Path, colour: str) -> dict[str, int]:
    """How many pixels of exactly this colour each panel has."""
    image = np.asarray(Image.open(path).convert('RGB'))
    hit = (image == hex_to_rgb(colour)).all(axis=-1)
    h, w = hit.shape[0] // 2, hit.shape[1] // 2
    return {
        'map': int(hit[:h, :w].sum()),
        'quality': int(hit[:h, w:].sum()),
        'boxes': int(hit[h:, :w].sum()),
        'losses': int(hit[h:, w:].sum()),
    }


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
        (0, (0, 0.1)),  # with the run: what the first pseudo-boxes that are logged say is later
        (20, (20, 0.15)),
        (30, (20, 0.15)),  # not scored: the last ones before
    ],
)
def test_start_weights_are_those_at_the_end_of_the_burn_in(
    tmp_path: Path, burn_in: int, begin: tuple[int, float]
) -> None:
    scored = [val(0, 0.1, 0.1), val(20, 0.15, 0.15), val(40, 0.19, 0.19)]
    taught = train(50, pseudo_boxes=1.0)
    log(tmp_path, '20250101_000000', start(0, burn_in), *scored, taught)
    assert teacher_begin(read_scalars(tmp_path)) == begin
    # Before its first pseudo-boxes no teacher has begun, and older runs say no burn-in.
    assert teacher_begin([start(0, burn_in), *scored]) is None
    assert teacher_begin([*scored, taught]) == (40, 0.19)


def test_empty_run_says_so_in_every_panel(tmp_path: Path) -> None:
    text = words(tmp_path, tmp_path)
    assert 'no validation yet' in text
    assert 'no hidden truth, or no pseudo-boxes yet' in text
    assert '>no pseudo-boxes yet' in text
    assert 'no losses yet' in text
    plot_curves(tmp_path, tmp_path / 'plot.png')
    assert not any(pixels(tmp_path / 'plot.png', curves.TEACHER).values())


def test_the_name_of_a_run_is_no_formula(tmp_path: Path) -> None:
    (tmp_path / '$x{$').mkdir()
    plot_curves(tmp_path / '$x{$', tmp_path / 'curves.png')
    assert (tmp_path / 'curves.png').stat().st_size > 0


def test_one_training_line_is_a_visible_point(tmp_path: Path) -> None:
    log(tmp_path, '20250101_000000', train(50, sup_loss_cls=0.25, sup_loss_bbox=0.5, sup_acc=90.0))
    # 0.25 + 0.5; an accuracy is no loss
    assert 'supervised (last 0.75)' in words(tmp_path, tmp_path)
    plot_curves(tmp_path, tmp_path / 'plot.png')
    drawn = pixels(tmp_path / 'plot.png', curves.STUDENT)
    assert drawn['losses'] > 0
    assert drawn['map'] == drawn['quality'] == drawn['boxes'] == 0
    # The point itself is at the right end, where the legend is not.
    image = np.asarray(Image.open(tmp_path / 'plot.png').convert('RGB'))
    assert (image[525:, 1450:] == hex_to_rgb(curves.STUDENT)).all(axis=-1).any()


def full_run(work_dir: Path) -> None:
    taught = {
        'pseudo_boxes': 1.5,
        'pseudo_precision': 0.9,
        'pseudo_recall': 0.4,
        'pseudo_loss_cls': 0.2,
        'pseudo_loss_bbox': 0.1,
        'pseudo_weight': 1.0,
        'consistency_loss_cls': 0.05,
    }
    log(
        work_dir,
        '20250101_000000',
        train(50, sup_loss=0.5),
        val(50, 0.1, 0.1),
        train(100, sup_loss=0.4),
        val(100, 0.203, 0.203),  # the burn-in ends: these are the start weights
        train(150, sup_loss=0.3, **taught),
        val(150, 0.35, 0.32),
        train(200, sup_loss=0.3, **taught),
        val(200, 0.447, 0.421),
    )


def test_full_run_shows_its_figures(tmp_path: Path) -> None:
    full_run(tmp_path)
    text = words(tmp_path, tmp_path)
    for words_of_legend in (
        'teacher (last 44.7)',
        'student (last 42.1)',
        'start weights 20.3',
        'precision (last 0.9)',
        'recall (last 0.4)',
        'above the threshold (last 1.5)',
        'supervised (last 0.3)',
        'pseudo-label (last 0.3)',  # 0.2 + 0.1, without the weight
        'consistency (last 0.05)',
    ):
        assert f'>{words_of_legend}<' in text
    for axis in ('mAP (points)', 'fraction', 'boxes per unlabelled image', 'iteration'):
        assert f'>{axis}<' in text


def test_full_run_draws_every_panel(tmp_path: Path) -> None:
    full_run(tmp_path)
    path = tmp_path / 'pictures/plot.png'  # a folder that is still to be made
    plot_curves(tmp_path, path)
    assert Image.open(path).size == (1500, 1050)
    assert min(pixels(path, curves.TEACHER).values()) > 0
    student = pixels(path, curves.STUDENT)
    assert student['boxes'] == 0
    assert min(student[panel] for panel in ('map', 'quality', 'losses')) > 0
    assert pixels(path, curves.CONSISTENCY)['losses'] > 0


def test_teacher_alone_has_no_student_curve(tmp_path: Path) -> None:
    log(tmp_path, '20250101_000000', {'teacher/coco/bbox_mAP': 0.5, 'step': 10})
    text = words(tmp_path, tmp_path)
    assert 'teacher (last 50)' in text
    assert 'student' not in text
    # Nothing says where the teacher began.
    assert 'start weights' not in text


def test_plain_detector_is_drawn_under_its_own_name(tmp_path: Path) -> None:
    log(tmp_path, '20250101_000000', train(10), {'coco/bbox_mAP': 0.25, 'step': 10})
    text = words(tmp_path, tmp_path)
    assert 'model (last 25)' in text
    assert 'total (last 1)' in text


def test_a_figure_that_is_not_a_number_is_a_gap(tmp_path: Path) -> None:
    # Precision is 0/0 where no pseudo-box was kept.
    log(
        tmp_path,
        '20250101_000000',
        train(10, pseudo_precision=0.5),
        train(20, pseudo_precision=float('nan')),
    )
    assert 'precision (last 0.5)' in words(tmp_path, tmp_path)


def test_validation_images_without_any_box_have_no_score(tmp_path: Path) -> None:
    # COCO's own score is -1 then.
    log(tmp_path, '20260101_000000', train(1), val(1, -1.0, -1.0), train(2, pseudo_boxes=1.0))
    text = words(tmp_path, tmp_path)
    assert 'no validation yet' in text
    assert '-100' not in text


def test_pseudo_losses_of_zero_are_drawn(tmp_path: Path) -> None:
    # A logarithmic axis would drop them. The line goes over half of the panel's 690 px.
    steps = (100, 200)
    log(tmp_path, '20250101_000000', *(train(s, sup_loss=2.0, pseudo_loss=0.0) for s in steps))
    plot_curves(tmp_path, tmp_path / 'plot.png')
    assert 'pseudo-label (last 0)' in words(tmp_path, tmp_path)
    assert pixels(tmp_path / 'plot.png', curves.TEACHER)['losses'] > 250


def test_matplotlib_is_left_as_it_was(tmp_path: Path) -> None:
    before = dict.copy(matplotlib.rcParams)
    plot_curves(tmp_path, tmp_path / 'plot.png')
    assert dict.copy(matplotlib.rcParams) == before


def test_alarms_shade_the_panels_and_stand_in_the_title(tmp_path: Path) -> None:
    alarms: list[Record] = [
        {'alarm/gradient': 1.0, 'iter': 60, 'step': 60},
        {'alarm/images': 1.0, 'iter': 100, 'step': 100},
        {'alarm/images': 0.0, 'iter': 150, 'step': 150},
        {'alarm/images': 1.0, 'iter': 200, 'step': 200},
    ]
    log(tmp_path, '20250101_000000', train(50), *alarms, train(400))
    text = words(tmp_path, tmp_path)
    # What goes on lasts until the run's present end.
    assert 'alarms: gradient 60–400, images 100–150, images 200–400' in text
    assert (
        text.count(f'fill: {curves.ALARM.lower()}') == 3
    )  # the panel of the losses alone has data


def test_many_alarms_are_counted_in_the_title(tmp_path: Path) -> None:
    alarms = [{'alarm/gap': float(i % 2 == 0), 'step': 10 * i} for i in range(14)]
    log(tmp_path, '20250101_000000', *alarms)
    assert 'gap 40–50, gap 60–70, gap 80–90, 2 more' in words(tmp_path, tmp_path)


def test_a_healthy_run_has_no_word_of_them(tmp_path: Path) -> None:
    log(tmp_path, '20250101_000000', train(50, alarms=0.0))
    assert 'alarms' not in words(tmp_path, tmp_path)
