"""The picture of a study."""

import cv2
import pytest

from ssod.studies.plot import plot_gains
from ssod.studies.results import Row


def row(data, method, gains):
    return Row(data, 10, method, gains, gains, gains)


@pytest.mark.parametrize(
    'rows',
    [
        # Nothing yet, the baseline alone, one seed, and several.
        [],
        [row('a', 'base', (0.0,))],
        [row('a', 'base', (0.0,)), row('a', 'x', (1.0,)), row('b', 'y', (1.0, -2.0))],
        [row('$x{$', 'z', (1.0,))],
        [row('a', 'x', (1.0, 1.5, 1.0))],
    ],
)
def test_a_picture(rows, tmp_path):
    path = tmp_path / 'gains.png'
    plot_gains(rows, 'base', path)
    assert cv2.imread(str(path)).std() > 0
