"""The summary's curves and its pictures of detections."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mmengine.hooks import Hook
from mmengine.runner import Runner
from PIL import Image

from ssod.evaluation import summary
from ssod.visualization import detections
from ssod.visualization.curves import plot_curves
from ssod.visualization.scalars import read_scalars

from .conftest import LAST, Detector, Teaching, run

pytestmark = pytest.mark.usefixtures('no_curves')


def test_curves_are_drawn_after_the_last_validation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    monkeypatch.setattr(summary, 'plot_curves', lambda folder, _: seen.append(read_scalars(folder)))
    run(tmp_path, [LAST])
    assert seen[0][-1]['teacher/coco/bbox_mAP'] == 0.427
    assert seen[0][-1]['step'] == 4


def test_figures_are_safe_when_a_picture_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise OSError('no space left')

    monkeypatch.setattr(summary, 'plot_curves', fail)
    with pytest.raises(OSError, match='no space left'):
        run(tmp_path, [LAST])
    assert (tmp_path / 'run/summary.json').exists()


def test_curves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(summary, 'plot_curves', plot_curves)
    run(tmp_path, [LAST])
    assert Image.open(tmp_path / 'run/curves.png').size == (1500, 1050)


@pytest.mark.parametrize(
    ('images', 'wanted', 'expected'),
    [
        (1, 8, ['0.png']),  # a single image
        (3, 8, ['0.png', '1.png', '2.png']),  # fewer than wanted: each once
        (5, 3, ['0.png', '2.png', '4.png']),  # spread from the first to the last
    ],
)
def test_pictures_are_spread_over_the_set(
    tmp_path: Path, images: int, wanted: int, expected: list[str]
) -> None:
    model = Detector()
    run(tmp_path, [LAST], [Teaching(2)], model, images=images, num_images=wanted)
    assert model.asked == [('teacher', False, name) for name in expected]


class BackToTraining(Hook):
    """Ends each validation in train mode, as mmengine's loops do not."""

    def after_val_epoch(self, runner: Runner, metrics: Any = None) -> None:
        runner.model.train()


def test_pictures_leave_the_model_as_it_was(tmp_path: Path) -> None:
    model = Detector()
    model.predict_on = 'student'
    run(tmp_path, [LAST], [Teaching(2), BackToTraining()], model)
    assert model.asked[0] == ('teacher', False, '0.png')
    assert model.training
    assert model.predict_on == 'student'


def sheet(tmp_path: Path, box: tuple[int, int, int, int], colour: tuple[int, int, int]) -> bool:
    """Whether the left side of a box of the first image has this colour, all along its middle."""
    image = np.asarray(Image.open(tmp_path / 'run/detections.png').convert('RGB'))
    x, top, _, bottom = (4 * v for v in box)
    side = image[36 + top + 20 : 36 + bottom - 20, 12 + x]
    return bool((side == colour).all())


TRUE_BOX = (30, 40, 50, 60)


def test_picture_shows_the_teacher_and_the_truth(tmp_path: Path) -> None:
    run(tmp_path, [LAST], [Teaching(2)])
    assert sheet(tmp_path, (8, 8, 40, 40), detections.DETECTION)
    assert not sheet(tmp_path, (56, 56, 88, 88), detections.DETECTION)
    assert sheet(tmp_path, TRUE_BOX, detections.TRUTH)
    assert not sheet(tmp_path, (5, 70, 25, 90), detections.TRUTH)  # a crowd is no box to be found


def test_picture_shows_the_student_where_there_is_no_teacher(tmp_path: Path) -> None:
    run(tmp_path, [LAST], [Teaching(4)])
    assert sheet(tmp_path, (56, 56, 88, 88), detections.DETECTION)
    assert not sheet(tmp_path, (8, 8, 40, 40), detections.DETECTION)


def test_picture_keeps_to_the_threshold(tmp_path: Path) -> None:
    run(tmp_path, [LAST], [Teaching(2)], score_thr=0.81)
    assert not sheet(tmp_path, (8, 8, 40, 40), detections.DETECTION)
    assert sheet(tmp_path, TRUE_BOX, detections.TRUTH)
