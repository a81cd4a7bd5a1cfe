"""The views before a training: boxes where a flip puts them, worked out from the file."""

import json

import pytest
import torch
from mmdet.structures import DetDataSample

from ssod.own_data import use_folder
from ssod.visualization.report import write_views
from ssod.visualization.report.images import View, views_of
from ssod.visualization.report.state import read_run


def truth_of(digits, file_name):
    """The boxes of an image as (x, y, width, height), from the file itself."""
    content = json.loads((digits / 'annotations/unlabeled_truth.json').read_text())
    number = next(i['id'] for i in content['images'] if i['file_name'] == file_name)
    return [a['bbox'] for a in content['annotations'] if a['image_id'] == number]


@pytest.fixture
def flipped(digits_cfg):
    """The digits, whose strong view is the image from right to left and of twice the size."""
    digits_cfg.train_dataloader.dataset.datasets[1].pipeline[-1] = dict(
        type='TwoViews',
        weak=[],
        strong=[
            dict(type='RandomFlip', prob=1.0),
            dict(type='Resize', scale=(192, 192), keep_ratio=True),
        ],
    )
    return digits_cfg


def test_true_boxes_are_carried_into_both_views(flipped, digits):
    ((weak, strong),) = views_of(flipped, 1)
    name = weak.sample.img_path.rpartition('/')[2]
    boxes = truth_of(digits, name)
    assert boxes
    assert weak.truth.bboxes.tolist() == [[x, y, x + w, y + h] for x, y, w, h in boxes]
    # 96 px wide: what began at x ends at 96 - x, and all is twice as large.
    expected = [[2 * (96 - x - w), 2 * y, 2 * (96 - x), 2 * (y + h)] for x, y, w, h in boxes]
    for got, wanted in zip(strong.truth.bboxes.tolist(), expected, strict=True):
        assert got == pytest.approx(wanted, abs=1e-3)
    # So are the pixels.
    assert strong.image.shape == (192, 192, 3)
    assert abs(strong.image[::2, ::-2].astype(int) - weak.image).mean() < 10
    assert abs(strong.image[::2, ::2].astype(int) - weak.image).mean() > 10


def test_a_view_is_drawn_in_its_own_colours():
    bgr = torch.tensor([10.4, 20.6, 300.0]).view(3, 1, 1)
    assert View(bgr, DetDataSample(), None).image.tolist() == [[[255, 21, 10]]]


def test_broken_images_are_passed_over(digits_cfg, digits, tmp_path):
    scenes = sorted((digits / 'images/val').iterdir())[:3]
    for path in scenes:
        (tmp_path / path.name).write_bytes(path.read_bytes())
    use_folder(digits_cfg, tmp_path)
    (tmp_path / scenes[0].name).write_bytes(b'')
    seen = [weak.sample.img_path for weak, _ in views_of(digits_cfg, 3)]
    assert seen == [str(tmp_path / path.name) for path in scenes[1:]]
    for path in scenes:
        (tmp_path / path.name).write_bytes(b'')
    with pytest.raises(ValueError, match=r'\.png is empty: 0 bytes'):
        next(views_of(digits_cfg, 3))


def test_without_the_hidden_truth_there_are_no_boxes(flipped):
    flipped.default_hooks.quality.ann_file = None
    ((weak, strong),) = views_of(flipped, 1)
    assert weak.truth is strong.truth is None


@pytest.mark.parametrize(('number', 'labeled', 'unlabeled'), [(1, 1, 1), (3, 2, 3)])
def test_the_page(digits_cfg, read_page, tmp_path, number, labeled, unlabeled):
    """There are two labelled images; a few more of the others are in two views each."""
    read = read_page(write_views(digits_cfg, tmp_path / 'pages/views.html', number))
    assert read.count('img') == labeled + 2 * unlabeled
    assert 'mt_fasterrcnn_digits10pct' in read.text
    assert 'strong view, ' in read.text
    assert all(link.startswith('data:') for link in read.links)


def test_names_are_escaped(trained, read_page, tmp_path):
    read = read_page(write_views(read_run(trained).cfg, tmp_path / 'views.html', 1))
    assert '<i>&000000.png' in read.text
    assert '<i>&' not in read.source


def test_digits_are_made_on_first_use(digits_cfg, read_page, tmp_path):
    for source in digits_cfg.train_dataloader.dataset.datasets:
        source.data_root = str(tmp_path / 'digits')
    read = read_page(write_views(digits_cfg, tmp_path / 'views.html', 1))
    assert read.count('img') == 3


def test_what_is_missing_is_said(digits_cfg, read_page, tmp_path):
    sources = digits_cfg.train_dataloader.dataset.datasets
    sources[0].update(type='CocoDataset', data_root='nowhere')
    read = read_page(write_views(digits_cfg, tmp_path / 'views.html', 1))
    assert 'nowhere/annotations/labeled.json does not exist here' in read.text
    assert read.count('img') == 2
    # A page of nothing is none.
    sources.pop()
    with pytest.raises(ValueError, match=r'nowhere/annotations/labeled\.json does not exist here'):
        write_views(digits_cfg, tmp_path / 'nothing.html')
    assert not (tmp_path / 'nothing.html').exists()


def test_no_image_at_all_is_refused(digits_cfg, tmp_path):
    with pytest.raises(ValueError, match='number is 0, but must be at least 1'):
        write_views(digits_cfg, tmp_path / 'views.html', 0)
