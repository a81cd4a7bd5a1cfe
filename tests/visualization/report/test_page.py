import json
import shutil
from pathlib import Path

import pytest
import torch

from ssod.visualization.report import write_report
from ssod.visualization.report.rendering import Missing, attempt, duration

from ..logs import log, train, val

START = '20250101_000000'


@pytest.fixture
def page(read_page, tmp_path):
    """Writes the page of a folder and reads it."""

    def page(work_dir):
        read = read_page(write_report(work_dir, tmp_path / 'pages/page.html'))
        assert len(read.ids) == len(set(read.ids))
        # Nothing is fetched from anywhere, and what is named inside of the page is there.
        assert all(link.startswith(('data:', '#')) for link in read.links)
        assert {link[1:] for link in read.links if link[0] == '#'} <= set(read.ids)
        return read

    return page


def test_an_empty_folder_is_a_page_that_says_so(page, tmp_path):
    (tmp_path / 'run').mkdir()
    read = page(tmp_path / 'run')
    for words in (
        'nothing logged yet',
        'iteration 0',
        'No validation yet.',
        'No losses yet.',
        'No pseudo-boxes yet.',
        'Left out. There is no config in the folder.',
        'The config does not set them.',
        'Alarms 0 none so far',
    ):
        assert words in read.text
    assert read.count('svg') == read.count('img') == 0


def test_a_missing_folder_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match='nowhere is not a folder'):
        write_report(tmp_path / 'nowhere')


def test_scalars_alone_are_drawn(page, tmp_path):
    # 20 iterations of 0.5 s are logged; the start weights have 12.5 points, the teacher gains 30.1.
    log(
        tmp_path / 'run',
        START,
        train(5, sup_loss=0.75, lr=0.01, decay=0.0),
        val(5, 0.125, 0.125),
        train(10, sup_loss=0.5, pseudo_loss=0.25, pseudo_boxes=1.5, decay=0.99),
        val(10, 0.5, 0.3),
        train(20, time=0.5, sup_loss=0.4, pseudo_loss=0.2, pseudo_boxes=2.25, decay=0.99, lr=0.02),
        val(20, 0.426, 0.4),
    )
    read = page(tmp_path / 'run')
    for words in (
        'Teacher, mAP 42.6 best 50.0 at iteration 10',
        'Student, mAP 40.0 best 40.0 at iteration 20',
        'Start weights, mAP 12.5',
        'Gain +30.1',
        'Pseudo-boxes 2.25 per unlabelled image',
        'Time 10 s estimated, without validations',
        'supervised 0.4 pseudo-label 0.2',
        'decay 0.99',
        'learning rate 0.02',
        '10 50.0 – 30.0 –',  # the table of validations, without any mAP50
        'not finished iteration 20',
    ):
        assert words in read.text
    assert 'pseudo-boxes 2.25' in read.text
    # mAP, losses, pseudo-boxes, decay and learning rate; neither quality nor the config's weights.
    assert read.count('svg') == 5


def test_a_run_going_on_tells_the_time_left(page, tmp_path):
    log(tmp_path / 'run', START, train(1_000, time=0.1), train(2_000, time=0.5))
    (tmp_path / 'run/config.py').write_text('train_cfg = dict(max_iters=8_000)\n')
    read = page(tmp_path / 'run')
    # 1000 iterations of 0.1 s and 1000 of 0.5 s are done, 6000 of 0.5 s are left.
    assert 'iteration 2,000 of 8,000 about 50 min of training left' in read.text
    assert 'Time 10 min' in read.text
    assert 'width: 25.0%' in read.source
    assert f'python tools/train.py {tmp_path}/run/config.py' in read.text


def test_a_torn_line_is_left_out(page, tmp_path):
    log(tmp_path / 'run', START, train(50), torn='{"loss": 0.3, "st')
    assert 'iteration 50' in page(tmp_path / 'run').text


@pytest.mark.parametrize('with_log', [True, False])
def test_alarms_come_with_their_advice(page, tmp_path, with_log):
    run = tmp_path / 'run'
    on, off = {'alarm/gap': 1.0}, {'alarm/gap': 0.0}
    log(run, START, train(100), train(200, **on), train(300, **off), train(400, **on), train(500))
    if with_log:
        head = '2025/01/01 00:00:00 - mmengine - '
        text = (
            f'{head}WARNING - watch, gap: the first time\n'
            f'{head}INFO - watch, gap: over\n'
            f'{head}WARNING - watch, gap: <b>2</b>: lower decay (0.9)\n'
        )
        (run / '20250101_000000/run.log').write_text(text)
    read = page(run)
    assert 'gap iterations 200–300, 400–500, still on' in read.text
    assert 'Alarms 1 1 still on' in read.text
    if with_log:
        assert '<b>2</b>: lower decay (0.9)' in read.text
        assert 'the first time' not in read.text
    else:
        assert 'or lengthen burn_in' in read.text


def test_records_of_another_version_leave_the_page(page, tmp_path):
    odd = {'alarm/forgotten': 1.0, 'teacher/coco/bbox_mAP': None, 'student/coco/bbox_mAP': 'x'}
    log(tmp_path / 'run', START, train(50, **odd), train(100))
    assert 'forgotten iterations 50' in page(tmp_path / 'run').text


def test_a_config_that_cannot_be_read_is_named(page, tmp_path):
    log(tmp_path / 'run', START, train(50))
    (tmp_path / 'run/config.py').write_text('this is no config\n')
    assert 'Left out. config.py cannot be read: ' in page(tmp_path / 'run').text


def test_a_real_run_is_shown_whole(page, trained, monkeypatch):
    # So short a run is sure of nothing.
    monkeypatch.setattr('ssod.visualization.report.page.DRAWN', 0.0)
    read = page(trained)
    lines = next(Path(trained).glob('*/vis_data/scalars.json')).read_text().splitlines()
    records = [json.loads(line) for line in lines]
    last = next(r for r in reversed(records) if 'teacher/coco/bbox_mAP' in r)
    lesson = next(r for r in reversed(records) if 'pseudo_boxes' in r)
    for words in (
        'finished iteration 4 of 4',
        f'Teacher, mAP {100 * last["teacher/coco/bbox_mAP"]:.1f} best',
        f'Student, mAP {100 * last["student/coco/bbox_mAP"]:.1f} best',
        f'pseudo-boxes {lesson["pseudo_boxes"]:.2f}',
        f'precision {lesson["pseudo_precision"]:.3g}',
        f'recall {lesson["pseudo_recall"]:.3g}',
        'λ, pseudo-labels 1',
        'α, consistency 0.5',
        'What the teacher in the newest checkpoint predicts on the weak views of 18 unlabelled',
        'threshold 0',
        'max_iters=4',  # the config
        f'torch {torch.__version__}',
        'iter_4.pth',
    ):
        assert words in read.text
    assert 'Left out' not in read.text
    # Seven curves, the histogram of all scores and one for each class.
    assert read.count('svg') == 7 + 1 + 10
    # Six images in two views, four validation images, and at most twelve mistakes.
    assert 12 + 4 < read.count('img') <= 12 + 4 + 12


def test_names_are_escaped(page, trained):
    read = page(trained)
    assert '<s>3&"' in read.text
    assert '<i>&000000.png' in read.text
    assert 'run <i>&' in read.text
    assert '<i>&' not in read.source
    assert '<s>' not in read.source


def test_a_copied_run_shows_what_it_has(page, trained, tmp_path):
    """Its data are elsewhere, and its own checkpoint is taken, not the one it was copied from."""
    copy = tmp_path / 'copy'
    shutil.copytree(trained, copy)
    config = next(copy.glob('*/vis_data/config.py'))
    config.write_text(config.read_text().replace('/digits', '/nowhere'))
    read = page(copy)
    assert f'checkpoint {copy / "iter_4.pth"}' in read.text
    assert 'nowhere/annotations/unlabeled.json does not exist here' in read.text
    assert 'nowhere/annotations/val.json does not exist here' in read.text
    assert read.count('img') == 0
    (copy / 'iter_4.pth').write_bytes(b'none')
    assert 'iter_4.pth is damaged' in page(copy).text


def test_the_page_is_the_folders_own_by_default(tmp_path):
    log(tmp_path, START, train(50))
    assert write_report(tmp_path) == tmp_path / 'report.html'


@pytest.mark.parametrize(
    ('seconds', 'text'),
    [
        (0, '0 s'),
        (59.4, '59 s'),
        (60, '1 min'),
        (3_570, '1 h 00 min'),  # rounded to full minutes first
        (3_900, '1 h 05 min'),
        (90_000, '25 h 00 min'),
    ],
)
def test_duration(seconds, text):
    assert duration(seconds) == text


def fail(error):
    raise error


@pytest.mark.parametrize(
    ('error', 'why'),
    [
        # Ours speak for themselves.
        (ValueError('the file\nis gone'), 'the file is gone'),
        (FileNotFoundError('x does not exist'), 'x does not exist'),
        # Others are named.
        (KeyError('meta'), "KeyError: 'meta'"),
        (RuntimeError('out of memory'), 'RuntimeError: out of memory'),
        (ValueError(), 'ValueError: '),
    ],
)
def test_what_fails_is_missing(error, why):
    assert attempt(lambda: fail(error)) == Missing(why)


def test_what_does_not_fail_is_there():
    assert attempt(lambda: 3) == 3


def test_a_page_takes_the_place_of_nothing_else(tmp_path):
    labels = tmp_path / 'labels.json'
    labels.write_text('{}')
    with pytest.raises(ValueError, match=r'labels.json must be an HTML page; name it labels.html'):
        write_report(tmp_path, labels)
    assert labels.read_text() == '{}'
