"""Comparing what two detectors find."""

import numpy as np
import pytest

from ssod.export.verification import compare

IMAGE = np.zeros((3, 8, 8), np.float32)


def finds(*found):
    """A detector that finds boxes, given as side, score and label."""
    sides = np.array([[0, 0, side, 4] for side, _, _ in found], np.float32).reshape(-1, 4)
    scores, labels = ([each[i] for each in found] for i in (1, 2))
    return lambda image: (sides, np.array(scores, np.float32), np.array(labels, np.int64))


@pytest.mark.parametrize(
    ('first', 'second', 'expected', 'equal'),
    [
        # Nothing, of either or of one.
        ([], [], (0, 0, 0, 0), True),
        ([(4, 0.5, 1)], [], (1, 0, 0, 1), False),
        ([], [(4, 0.5, 1)], (0, 0, 0, 1), False),
        ([(4, 0.5, 1)], [(4, 0.5, 1)], (1, 0, 0, 0), True),
        # In another order, as equal scores may be.
        ([(4, 0.5, 1), (7, 0.5, 1)], [(7, 0.5, 1), (4, 0.5, 1)], (2, 0, 0, 0), True),
        # A sixteenth of a pixel is more than rounding; so is an eighth of a score.
        ([(4, 0.5, 1)], [(4.0625, 0.5, 1)], (1, 0.0625, 0, 0), False),
        ([(4, 0.5, 1)], [(4, 0.625, 1)], (1, 0, 0.125, 0), False),
        # Another class, or a box that is elsewhere.
        ([(4, 0.5, 1)], [(4, 0.5, 2)], (1, 0, 0, 2), False),
        ([(4, 0.5, 1)], [(6, 0.5, 1)], (1, 0, 0, 2), False),
        # Two boxes do not share a counterpart.
        ([(4, 0.5, 1), (4, 0.5, 1)], [(4, 0.5, 1)], (2, 0, 0, 1), False),
    ],
)
def test_differences(first, second, expected, equal):
    found = compare(finds(*first), finds(*second), [IMAGE])
    assert (found.boxes, found.pixels, found.scores, found.unmatched) == expected
    assert found.equal is equal


def test_all_images_count():
    found = compare(finds((4, 0.5, 1)), finds((4.03125, 0.5, 1)), [IMAGE, IMAGE])
    assert (found.images, found.boxes, found.equal) == (2, 2, True)
    assert str(found) == (
        '2 boxes in 2 images differ by at most 0.031 pixels and 0 in score; without counterpart: 0'
    )


def test_one_of_a_hundred_may_differ():
    many = [(4, 0.5, label) for label in range(100)]
    assert compare(finds(*many), finds(*many[1:]), [IMAGE]).equal
    assert not compare(finds(*many), finds(*many[2:]), [IMAGE]).equal
