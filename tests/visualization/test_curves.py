from pathlib import Path

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.colors import to_rgb
from PIL import Image

from ssod.visualization.curves import plot_curves
from ssod.visualization.panels import COLOURS

from .logs import Record, log, train, val


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
        'losses': int(hit[:h, w:].sum()),
        'boxes': int(hit[h:, :w].sum()),
        'quality': int(hit[h:, w:].sum()),
    }


def test_empty_run_says_so_in_every_panel(tmp_path: Path) -> None:
    text = words(tmp_path, tmp_path)
    assert 'No validation yet.' in text
    assert 'No hidden truth, or no pseudo-boxes yet.' in text
    assert '>No pseudo-boxes yet.' in text
    assert 'No losses yet.' in text
    plot_curves(tmp_path, tmp_path / 'plot.png')
    assert not any(pixels(tmp_path / 'plot.png', COLOURS['teacher']).values())


def test_the_name_of_a_run_is_no_formula(tmp_path: Path) -> None:
    (tmp_path / '$x{$').mkdir()
    plot_curves(tmp_path / '$x{$', tmp_path / 'curves.png')
    assert (tmp_path / 'curves.png').stat().st_size > 0


def test_one_training_line_is_a_visible_point(tmp_path: Path) -> None:
    log(tmp_path, '20250101_000000', train(50, sup_loss_cls=0.25, sup_loss_bbox=0.5, sup_acc=90.0))
    # 0.25 + 0.5; an accuracy is no loss
    assert 'supervised 0.75' in words(tmp_path, tmp_path)
    plot_curves(tmp_path, tmp_path / 'plot.png')
    drawn = pixels(tmp_path / 'plot.png', COLOURS['student'])
    assert drawn['losses'] > 0
    assert drawn['map'] == drawn['quality'] == drawn['boxes'] == 0
    # The point itself is at the right end, where the legend is not.
    image = np.asarray(Image.open(tmp_path / 'plot.png').convert('RGB'))
    assert (image[:525, 1450:] == hex_to_rgb(COLOURS['student'])).all(axis=-1).any()


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
        'teacher 44.7',
        'student 42.1',
        'start weights 20.3',
        'precision 0.9',
        'recall 0.4',
        'pseudo-boxes 1.50',
        'supervised 0.3',
        'pseudo-label 0.3',  # 0.2 + 0.1, without the weight
        'consistency 0.05',
    ):
        assert f'>{words_of_legend}<' in text
    for axis in ('points', 'fraction', 'per image', 'sums by kind', 'iteration'):
        assert f'>{axis}<' in text


def test_full_run_draws_every_panel(tmp_path: Path) -> None:
    full_run(tmp_path)
    path = tmp_path / 'pictures/plot.png'  # a folder that is still to be made
    plot_curves(tmp_path, path)
    assert Image.open(path).size == (1500, 1050)
    assert min(pixels(path, COLOURS['teacher']).values()) > 0
    student = pixels(path, COLOURS['student'])
    assert student['boxes'] == 0
    assert min(student[panel] for panel in ('map', 'quality', 'losses')) > 0
    assert pixels(path, COLOURS['consistency'])['losses'] > 0


def test_teacher_alone_has_no_student_curve(tmp_path: Path) -> None:
    log(tmp_path, '20250101_000000', {'teacher/coco/bbox_mAP': 0.5, 'step': 10})
    text = words(tmp_path, tmp_path)
    assert 'teacher 50.0' in text
    assert 'student' not in text
    # Nothing says where the teacher began.
    assert 'start weights' not in text


def test_plain_detector_is_drawn_under_its_own_name(tmp_path: Path) -> None:
    log(tmp_path, '20250101_000000', train(10), {'coco/bbox_mAP': 0.25, 'step': 10})
    text = words(tmp_path, tmp_path)
    assert 'model 25.0' in text
    assert 'total 1' in text


def test_a_figure_that_is_not_a_number_is_a_gap(tmp_path: Path) -> None:
    # Precision is 0/0 where no pseudo-box was kept.
    log(
        tmp_path,
        '20250101_000000',
        train(10, pseudo_precision=0.5),
        train(20, pseudo_precision=float('nan')),
    )
    assert 'precision 0.5' in words(tmp_path, tmp_path)


def test_validation_images_without_any_box_have_no_score(tmp_path: Path) -> None:
    # COCO's own score is -1 then.
    log(tmp_path, '20260101_000000', train(1), val(1, -1.0, -1.0), train(2, pseudo_boxes=1.0))
    text = words(tmp_path, tmp_path)
    assert 'No validation yet.' in text
    assert '-100' not in text


def test_pseudo_losses_of_zero_are_drawn(tmp_path: Path) -> None:
    # A logarithmic axis would drop them. The line goes over half of the panel's 690 px.
    steps = (100, 200)
    log(tmp_path, '20250101_000000', *(train(s, sup_loss=2.0, pseudo_loss=0.0) for s in steps))
    plot_curves(tmp_path, tmp_path / 'plot.png')
    assert 'pseudo-label 0' in words(tmp_path, tmp_path)
    assert pixels(tmp_path / 'plot.png', COLOURS['teacher'])['losses'] > 250


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
    # The panel of the losses alone has data.
    assert text.count(f'fill: {COLOURS["alarm"].lower()}') == 3


def test_many_alarms_are_counted_in_the_title(tmp_path: Path) -> None:
    alarms = [{'alarm/gap': float(i % 2 == 0), 'step': 10 * i} for i in range(14)]
    log(tmp_path, '20250101_000000', *alarms)
    assert 'gap 40–50, gap 60–70, gap 80–90, 2 more' in words(tmp_path, tmp_path)


def test_a_healthy_run_has_no_word_of_them(tmp_path: Path) -> None:
    log(tmp_path, '20250101_000000', train(50, alarms=0.0))
    assert 'alarms' not in words(tmp_path, tmp_path)
