"""Each alarm's condition, with numbers made by hand."""

import math

import pytest

from ssod.teachers.alarms import (
    figures,
    histogram_distance,
    judge_boxes,
    judge_distance,
    judge_gap,
    judge_gradient,
    judge_losses,
    judge_scores,
    missing_classes,
    standing,
)
from ssod.teachers.box_counts import BoxCounts, PseudoCounts
from ssod.teachers.limits import Limits

NAMES = ('cat', 'dog')
# 100 images, of which 80 have boxes: 200 cats and 200 dogs, 4 boxes in an image.
LABELED = BoxCounts(100, 80, [200, 200])


def pseudo(images, with_boxes, cats, dogs, mean=0.9, lowest=0.7):
    return PseudoCounts(images, with_boxes, [cats, dogs], mean, lowest)


@pytest.mark.parametrize(
    ('counts', 'expected'),
    [
        # No unlabelled image was seen: nothing is known.
        (pseudo(0, 0, 0, 0), {}),
        # As the labelled ones, on few images, and with many boxes: all is well.
        (pseudo(100, 80, 200, 200), {}),
        (pseudo(100, 9, 21, 21), {}),
        (pseudo(100, 100, 600, 600), {}),
        # No box at all, and on 7 of 100 images, where 8 are the least.
        (
            pseudo(100, 0, 0, 0),
            {'images': 'no pseudo-boxes on 100% of the unlabelled images (no boxes on 20% of the'},
        ),
        (pseudo(100, 7, 20, 20), {'images': 'no pseudo-boxes on 93% of'}),
        # Hardly a box, on enough images: 0.39 in an image, where 0.4 is the least.
        (
            pseudo(100, 39, 20, 19),
            {'few_boxes': '0.39 pseudo-boxes in an unlabelled image, 4 in a labelled one'},
        ),
        # 12.1 boxes in an image, where 12 is the most.
        (pseudo(100, 90, 605, 605), {'many_boxes': '12.1 pseudo-boxes in an'}),
        # One class alone: half of the boxes would have to change, which is just not too much, but
        # 200 dogs were due, and half of the classes is too many.
        (
            pseudo(100, 80, 400, 0),
            {'missing': '1 of 2 classes never appear among 400 pseudo-boxes (dog)'},
        ),
        # The same with 18 boxes, of which 9 dogs were due: that is chance.
        (pseudo(10, 8, 18, 0), {}),
    ],
)
def test_boxes(counts, expected):
    seen = judge_boxes(counts, LABELED, NAMES, Limits())
    assert sorted(seen) == ['classes', 'few_boxes', 'images', 'many_boxes', 'missing']
    assert {k for k, v in seen.items() if v} == set(expected)
    for name, words in expected.items():
        assert seen[name].startswith(words)


def test_classes_out_of_proportion():
    # 90 % dogs where 10 % are: 80 % of the boxes would have to change their class.
    labeled = BoxCounts(100, 80, [180, 20])
    seen = judge_boxes(pseudo(100, 80, 20, 180), labeled, NAMES, Limits())
    assert seen['classes'] == (
        'the class histogram of the pseudo-boxes is 0.80 away from that of the labels; '
        "'dog' is 90% of them, but 10% of the labelled boxes"
    )
    # Neither few pseudo-boxes nor few labelled ones are a histogram.
    assert judge_boxes(pseudo(4, 4, 1, 9), labeled, NAMES, Limits())['classes'] is None
    few = BoxCounts(5, 5, [9, 1])
    assert judge_boxes(pseudo(100, 80, 20, 180), few, NAMES, Limits())['classes'] is None


def test_without_labels_nothing_is_compared():
    unknown = BoxCounts(10, 0, [0, 0])
    assert not any(judge_boxes(pseudo(100, 0, 0, 0), unknown, NAMES, Limits()).values())
    assert math.isnan(histogram_distance(pseudo(10, 5, 5, 5), unknown))
    assert missing_classes(pseudo(10, 5, 5, 5), unknown) == ([], 0)


def test_limits_move_the_alarms():
    counts = pseudo(100, 7, 20, 20)
    assert judge_boxes(counts, LABELED, NAMES, Limits(images=0.0))['few_boxes'] is None
    assert judge_boxes(counts, LABELED, NAMES, Limits(images=0.0))['images'] is None
    assert judge_boxes(counts, LABELED, NAMES, Limits(images=0.0, few_boxes=0.2))['few_boxes']


def test_more_missing_classes_than_fit_are_counted():
    names = tuple('abcdefgh')
    labeled = BoxCounts(100, 80, [100] * 8)
    counts = PseudoCounts(100, 80, [800] + [0] * 7, 0.9, 0.7)
    seen = judge_boxes(counts, labeled, names, Limits())
    assert seen['missing'] == (
        '7 of 8 classes never appear among 800 pseudo-boxes (b, c, d, e, f, …)'
    )


def test_one_class_that_was_due_is_not_judged():
    # 30 of 33 boxes are due to be cats, 3 dogs. All are dogs: that is the histogram's affair.
    labeled = BoxCounts(100, 80, [300, 30])
    seen = judge_boxes(pseudo(33, 33, 0, 33), labeled, NAMES, Limits())
    assert seen['missing'] is None
    assert seen['classes']


def test_figures():
    assert figures(pseudo(100, 40, 100, 0), LABELED) == {
        'images': 0.4, 'boxes': 0.25, 'classes': 0.5, 'missing': 0.5, 'scores': 0.9,
    }  # fmt: skip
    nothing = figures(pseudo(0, 0, 0, 0, math.nan, math.nan), LABELED)
    assert all(map(math.isnan, nothing.values()))


def test_scores_sink_towards_the_lowest():
    # 0.9 is two thirds of the way from 0.7 to 1; 0.76 is a fifth of it.
    assert standing(pseudo(50, 50, 25, 25)) == pytest.approx(2 / 3)
    sunk = pseudo(50, 50, 25, 25, mean=0.76)
    assert judge_scores(sunk, [2 / 3, 2 / 3, 0.1], 0.5) == (
        'the mean score of the pseudo-boxes is 0.76, 20% of the way from the lowest to 1; before '
        'it was 67%'
    )
    # Not sunk so far; nothing to compare with; too few boxes; all of the same score.
    assert judge_scores(sunk, [0.39], 0.5) is None
    assert judge_scores(sunk, [], 0.5) is None
    assert judge_scores(pseudo(49, 49, 25, 24, mean=0.76), [2 / 3], 0.5) is None
    assert judge_scores(pseudo(50, 50, 25, 25, mean=1.0, lowest=1.0), [2 / 3], 0.5) is None


@pytest.mark.parametrize(
    ('norms', 'recent', 'alarm'),
    [
        ([], 1, False),
        # Too few to have a median.
        ([1, 1, 1, 11], 1, False),
        ([1, 1, 1, 1, 11], 1, True),
        ([1, 1, 1, 1, 10], 1, False),
        ([1] * 7 + [15, 15], 2, False),
        # One high norm of two is nothing, two are.
        ([1] * 8 + [1, 15], 2, False),
        ([1] * 8 + [15, 15], 2, True),
        # High norms before, which are not the median, hide nothing.
        ([1, 90, 1, 90, 1, 1, 1, 1, 15, 15], 2, True),
    ],
)
def test_gradient(norms, recent, alarm):
    assert bool(judge_gradient(norms, recent, 10)) == alarm


def test_gradient_in_words():
    assert judge_gradient([2.0] * 4 + [1234.5], 1, 10) == (
        'the median gradient norm is 1.23e+03 in the last 1 steps, but was 2'
    )


def test_losses():
    assert judge_losses(101, 1, 100) == 'the pseudo losses are 101 times the supervised ones'
    assert judge_losses(100, 1, 100) is None
    # No loss was summed up yet, or none of labelled images.
    assert judge_losses(0, 0, 100) is None
    assert judge_losses(1, 0, 100) is None


def test_distance():
    assert judge_distance(0.5, 0.5, 0.5) is None
    assert judge_distance(0.6, 0.9, 0.5) == "the teacher's weights differ by 60% from the student's"
    assert judge_distance(0.1, 0.9, 0.5) == (
        "the teacher's running statistics differ by 90% from the student's"
    )
    assert judge_distance(math.nan, 0, 0.5)


@pytest.mark.parametrize(
    ('teacher', 'student', 'alarm'),
    [
        # 29 % below the student's, and 31 %.
        (0.71, 1.0, False),
        (0.69, 1.0, True),
        # The teacher may be better, and no student has learned yet.
        (0.4, 0.3, False),
        (0.0, 0.0, False),
        # A point of mAP is noise, however much of the student's it is.
        (0.0, 0.01, False),
        (0.0, 0.02, True),
        # COCO's score for a set without boxes.
        (-1, -1, False),
    ],
)
def test_gap(teacher, student, alarm):
    metrics = {
        'teacher/coco/bbox_mAP': teacher,
        'teacher/coco/bbox_mAP_50': 0.0,
        'student/coco/bbox_mAP': student,
        'student/coco/bbox_mAP_50': 1.0,
    }
    gap, seen = judge_gap(metrics, 0.3)
    assert gap == pytest.approx(student - teacher)
    assert bool(seen) == alarm


def test_gap_in_words_and_of_other_metrics():
    metrics = {'teacher/time': 1.0, 'teacher/voc/mAP': 0.1, 'student/voc/mAP': 0.205}
    assert judge_gap(metrics, 0.3)[1] == "the teacher's mAP is 10.0, the student's 20.5"
    # One of the two alone, or another kind of metric.
    assert judge_gap({'teacher/coco/bbox_mAP': 0.1}, 0.3) is None
    assert judge_gap({'teacher/recall': 0.1, 'student/recall': 0.9}, 0.3) is None


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(image=0.1), "unknown setting 'image'; did you mean 'images'"),
        (dict(images=1.5), r'limits\.images is 1\.5, but must be in \[0, 1\]'),
        (dict(many_boxes=0.5), r'limits\.many_boxes is 0\.5, but must be in \[1, inf\]'),
        (dict(non_finite=0), r'limits\.non_finite is 0'),
        (dict(gap='0.3'), r"limits\.gap is '0\.3'"),
        (dict(gradient=math.nan), r'limits\.gradient is nan'),
    ],
)
def test_refused_limits(settings, message):
    with pytest.raises(ValueError, match=message):
        Limits.from_settings(settings)
