"""Charts as SVG inside of a page: what they draw, and that they leave the page alone."""

import re

import matplotlib
import pytest

from ssod.visualization.panels import COLOURS, Line, Panel
from ssod.visualization.report.figures import charts_of, ramps_of
from ssod.visualization.report.svg import bar_chart, line_chart

from ..logs import train

CFG = {'train_cfg': {'max_iters': 100}, 'model': {'pseudo_weight': 2.0, 'consistency': None}}


def names(chart):
    return {key.name: key.value for key in chart.keys}


def test_no_line_and_lines_without_points_say_what_is_missing():
    for lines in ([], [Line('a', [], 'teacher')]):
        chart = line_chart(Panel('Title', 'unit', lines, 'Nothing yet.'))
        assert (chart.svg, chart.missing) == ('', 'Nothing yet.')


def test_a_line_is_drawn_in_the_pages_colour():
    chart = line_chart(Panel('Title', 'unit', [Line('a', [(0, 1), (50, 0.126)], 'student')], ''))
    assert names(chart) == {'a': '0.126'}
    assert 'var(--student)' in chart.svg
    assert 'var(--teacher)' not in chart.svg
    # Every colour is the page's, but for the white of nothing.
    left = set(re.findall(r'#[0-9a-f]{6}', chart.svg.lower()))
    assert not left & {colour.lower() for colour in COLOURS.values()}


def test_a_chart_is_only_an_element():
    chart = line_chart(Panel('A & "b"', 'unit', [Line('a', [(1, 1)], 'teacher')], ''))
    assert chart.svg.startswith('<svg viewBox=')
    assert 'aria-label="A &amp; &#34;b&#34;"' in chart.svg
    assert '<style' not in chart.svg and '<metadata' not in chart.svg
    assert ' width="' not in chart.svg[: chart.svg.index('>')]


def test_ids_of_two_charts_are_their_own():
    line = Line('a', [(1, 1), (2, 3)], 'teacher')
    ids = [
        set(re.findall(r' id="([^"]*)"', line_chart(Panel(t, '', [line], '')).svg)) for t in 'ab'
    ]
    assert ids[0] and not ids[0] & ids[1]


def test_spans_are_shaded():
    line = Line('a', [(1, 1), (9, 3)], 'teacher')
    assert 'var(--alarm)' not in line_chart(Panel('t', '', [line], '')).svg
    assert 'var(--alarm)' in line_chart(Panel('t', '', [line], ''), spans=[(2, 4)]).svg


def test_matplotlib_is_left_as_it_was():
    before = dict(matplotlib.rcParams)
    line_chart(Panel('t', '', [Line('a', [(1, 1)], 'teacher')], ''))
    assert dict(matplotlib.rcParams) == before


def test_bars_are_counted_in_the_legend():
    chart = bar_chart(
        't', '', [0, 0.5, 1], [('right', [1_000, 2], 'teacher'), ('wrong', [0, 3], 'student')], 0.7
    )
    assert names(chart) == {'right': '1,002', 'wrong': '3', 'threshold': '0.7'}


def test_nothing_logged_is_four_sentences():
    assert all(chart.missing for chart in charts_of([], 0))


def test_curves_have_the_last_values():
    records = [
        {'teacher/coco/bbox_mAP': 0.2, 'student/coco/bbox_mAP': 0.2, 'step': 5},
        train(10, sup_loss=0.5, pseudo_loss_cls=0.25, pseudo_loss_bbox=0.5, pseudo_boxes=1.5),
        train(15, sup_loss=0.4, pseudo_loss_cls=0.125, pseudo_loss_bbox=0.5, pseudo_boxes=2.5),
        {'teacher/coco/bbox_mAP': 0.4, 'student/coco/bbox_mAP': 0.3, 'step': 15},
    ]
    scores, losses, boxes, quality = charts_of(records, 15, usual=3.0)
    assert names(scores) == {'teacher': '40.0', 'student': '30.0', 'start weights': '20.0'}
    assert names(losses) == {'supervised': '0.4', 'pseudo-label': '0.625'}
    assert names(boxes) == {'pseudo-boxes': '2.50', 'boxes in a labelled image': '3.00'}
    assert quality.missing


def test_losses_far_apart_are_logarithmic():
    near, far = ([train(1, sup_loss=1.0), train(2, sup_loss=x)] for x in (0.06, 0.04))
    assert charts_of(near, 2)[1].unit == 'sums by kind'
    assert charts_of(far, 2)[1].unit == 'sums by kind, logarithmic'


@pytest.mark.parametrize(
    ('cfg', 'burn_in', 'told'),
    [
        # No config, one of another kind of model, and a teacher that never begins.
        ({}, 0, 'The config does not set them.'),
        ({**CFG, 'model': {'type': 'FasterRCNN'}}, 0, 'The config does not set them.'),
        (CFG, 100, 'The teacher never begins: only the labels teach.'),
    ],
)
def test_weights_that_nobody_knows(cfg, burn_in, told):
    assert ramps_of([], cfg, burn_in)[0].missing == told


def test_weights_are_the_schedules_from_the_burn_in_on():
    cfg = {
        'train_cfg': {'max_iters': 100},
        'model': {
            'pseudo_weight': {'type': 'linear', 'end': 4.0, 'steps': 80},
            'consistency': {'weight': 0.5},
        },
    }
    weights = ramps_of([train(1, lr=0.5, decay=0.75)], cfg, burn_in=80)
    # 20 of 80 iterations of the ramp are left to the teacher: a quarter of 4.
    assert names(weights[0]) == {'λ, pseudo-labels': '1', 'α, consistency': '0.5'}
    assert names(weights[1]) == {'decay': '0.75'}
    assert names(weights[2]) == {'learning rate': '0.5'}


def test_charts_of_a_run_end_where_it_is():
    """A single validation at the beginning is not drawn at the right border."""
    score = {'teacher/coco/bbox_mAP': 0.2, 'step': 100}
    early, late = (charts_of([score], last)[0].svg for last in (100, 1_000))
    assert '>900<' in late
    assert '>900<' not in early
