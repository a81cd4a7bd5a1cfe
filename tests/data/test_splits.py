"""Labelled and unlabelled parts of a COCO JSON."""

import gc
import json
import math
import runpy
from pathlib import Path
from unittest import mock

import pytest

from ssod.data import splits
from ssod.data.coco_json import read_coco, write_beside, write_json
from ssod.data.splits import draw_labeled, split_coco, write_split, write_unlabeled

TOOL = Path(__file__).parents[2] / 'tools' / 'split_coco.py'


def coco(count, first_id=1):
    """As many images; the i-th has i % 3 boxes."""
    return {
        'info': {'year': 2017},
        'licenses': [],
        'images': [
            {'id': first_id + i, 'file_name': f'{i}.jpg', 'width': 9, 'height': 9}
            for i in range(count)
        ],
        'annotations': [
            {
                'id': 10 * i + k,
                'image_id': first_id + i,
                'category_id': 5,
                'bbox': [1, 2, 3, 4],
                'area': 12,
                'iscrowd': 0,
                'segmentation': [[1, 2, 4, 2, 4, 6]],
            }
            for i in range(count)
            for k in range(i % 3)
        ],
        'categories': [{'id': 5, 'name': 'cat'}],
    }


# Exactly the share, rounded to whole images: drawing with replacement gives fewer (trap 11).
@pytest.mark.parametrize(
    ('count', 'percent', 'expected'),
    [
        (2, 50, 1),
        (100, 1, 1),
        (1000, 10, 100),
        (117266, 10, 11727),  # COCO's images that have a box
        (118287, 1, 1183),  # COCO train2017
        (200, 0.5, 1),
        (3, 99, None),  # none left without labels
        (100, 0.1, None),  # none labelled
        (100, 100, None),
        (100, 0, None),
        (100, -5, None),
        (0, 10, None),
    ],
)
def test_number_drawn(count, percent, expected):
    ids = list(range(count))
    if expected is None:
        with pytest.raises(ValueError, match=f'percent={percent:g} of {count} images'):
            draw_labeled(ids, percent, 1)
    else:
        assert len(draw_labeled(ids, percent, 1)) == expected


@pytest.mark.parametrize('percent', [math.nan, math.inf])
def test_what_is_no_percentage_is_refused(percent):
    with pytest.raises(ValueError, match=f'percent={percent} must be a number above 0'):
        draw_labeled([1, 2], percent, 1)


def test_draws_depend_on_the_fold_alone():
    ids = [7 * i for i in range(100)]
    drawn = draw_labeled(ids, 10, 1)
    assert draw_labeled(ids[::-1], 10, 1) == drawn
    assert draw_labeled(ids, 10, 2) != drawn
    assert drawn < draw_labeled(ids, 20, 1)
    with pytest.raises(ValueError, match='fold=-1'):
        draw_labeled(ids, 10, -1)


def test_draws_are_the_same_on_every_machine():
    assert draw_labeled(list(range(1000)), 0.5, 1) == {543, 577, 649, 705, 927}


def test_parts():
    whole = coco(30)
    labeled, unlabeled, truth = split_coco(whole, 20, 1)
    ids = [{i['id'] for i in part['images']} for part in (labeled, unlabeled, truth)]
    assert (len(ids[0]), len(ids[1])) == (6, 24)
    assert ids[0] | ids[1] == set(range(1, 31))
    assert ids[2] == ids[1]
    assert unlabeled['annotations'] == []
    for part, own in ((labeled, ids[0]), (truth, ids[1])):
        wanted = [a['id'] for a in whole['annotations'] if a['image_id'] in own]
        assert [a['id'] for a in part['annotations']] == wanted
        assert part['categories'] == whole['categories']
    assert unlabeled['categories'] == whole['categories']
    assert all('segmentation' in a for a in labeled['annotations'])
    assert not any('segmentation' in a for a in truth['annotations'])
    assert whole == coco(30)


def test_nothing_unknown_gets_into_the_unlabelled_part():
    _, unlabeled, _ = split_coco({**coco(4), 'captions': ['a cat']}, 25, 1)
    assert sorted(unlabeled) == ['annotations', 'categories', 'images', 'info', 'licenses']


def test_files(tmp_path):
    write_json(tmp_path / 'train.json', coco(100))
    out = tmp_path / 'deep' / 'out'
    files = write_split(tmp_path / 'train.json', out, [1, 2.5], [1, 3])
    names = {f'train.{f}@{p}{part}.json' for f in (1, 3) for p in ('1', '2.5')
             for part in ('', '-unlabeled', '-unlabeled-truth')}  # fmt: skip
    assert {f.name for f in files} == {f.name for f in out.iterdir()} == names
    assert len(read_coco(out / 'train.1@2.5-unlabeled.json')['images']) == 98
    # The second time nothing is written, not even the same again.
    before = {f: f.stat().st_mtime_ns for f in files}
    assert write_split(tmp_path / 'train.json', out, [1, 2.5], [1, 3]) == files
    assert {f: f.stat().st_mtime_ns for f in files} == before


def test_splitting_tells_how_far_it_is(tmp_path, monkeypatch, capsys):
    # Twenty splits of COCO take minutes, much of it for looking for garbage among their entries.
    write_json(tmp_path / 'train.json', coco(4))
    enabled = []

    def split(*args):
        enabled.append(gc.isenabled())
        return split_coco(*args)

    monkeypatch.setattr(splits, 'split_coco', split)
    write_split(tmp_path / 'train.json', tmp_path, [25, 50], [1, 2, 3])
    assert enabled == [False] * 6
    assert gc.isenabled()
    told = capsys.readouterr().err
    assert 'splitting' in told
    assert '6/6' in told


def test_ids_of_two_kinds():
    # Numbers come before text, whatever the order in the file.
    ids = [3, '2', 1, 'a', 2, '1']
    assert draw_labeled(ids, 50, 1) == draw_labeled([1, 2, 3, '1', '2', 'a'], 50, 1)


@pytest.mark.parametrize(
    ('part', 'field', 'told'),
    [
        ('images', 'id', r"train.json: images\[0\] has no 'id'; it must be a whole number or text"),
        (
            'annotations',
            'image_id',
            r"train.json: annotations\[0\] .* has no 'image_id'; it must be",
        ),
    ],
)
def test_entries_without_ids_are_named(tmp_path, part, field, told):
    whole = coco(4)
    del whole[part][0][field]
    write_json(tmp_path / 'train.json', whole)
    with pytest.raises(ValueError, match=told):
        write_split(tmp_path / 'train.json', tmp_path / 'out', [50], [1])
    assert not (tmp_path / 'out').exists()


def test_other_files_are_not_overwritten(tmp_path):
    write_json(tmp_path / 'train.json', coco(100))
    mine = tmp_path / 'train.1@1-unlabeled.json'
    mine.write_text('mine')
    with pytest.raises(FileExistsError, match=r'unlabeled\.json exists with other content'):
        write_split(tmp_path / 'train.json', tmp_path, [1], [1])
    assert mine.read_text() == 'mine'
    write_split(tmp_path / 'train.json', tmp_path, [1], [1], overwrite=True)
    assert len(read_coco(mine)['images']) == 99


def test_unlabeled_images_get_the_categories(tmp_path):
    write_json(tmp_path / 'train.json', coco(3))
    images = coco(2, first_id=50)['images']
    write_json(tmp_path / 'image_info_unlabeled2017.json', {'info': {}, 'images': images})
    path = write_unlabeled(tmp_path / 'image_info_unlabeled2017.json', tmp_path / 'train.json')
    assert path == tmp_path / 'instances_unlabeled2017.json'
    made = read_coco(path)
    assert (made['images'], made['annotations']) == (images, [])
    assert made['categories'] == [{'id': 5, 'name': 'cat'}]
    # Another name keeps its own, and annotations that are there do not pass.
    write_json(tmp_path / 'more.json', coco(9))
    path = write_unlabeled(tmp_path / 'more.json', tmp_path / 'train.json')
    assert path == tmp_path / 'more-unlabeled.json'
    assert read_coco(path)['annotations'] == []


@pytest.mark.parametrize('link', ['image_info_val.json', 'labeled.json'])
def test_what_is_read_is_not_replaced(tmp_path, link):
    # By its own name or by a link.
    write_json(tmp_path / 'instances_val.json', coco(3))
    (tmp_path / link).symlink_to('instances_val.json')
    info = tmp_path / 'image_info_val.json'
    if not info.exists():
        write_json(info, {'images': coco(3)['images']})
    for ann_file in {tmp_path / link, tmp_path / 'instances_val.json'}:
        with pytest.raises(
            ValueError, match=r'instances_val\.json is read, but would be overwritten without annot'
        ):
            write_unlabeled(info, ann_file, overwrite=True)
    assert read_coco(tmp_path / 'instances_val.json') == coco(3)


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        (None, 'does not exist; see data/README.md'),
        ('', 'is not JSON'),
        ('{"images": [', 'is not JSON'),
        ('\udcff', 'is not JSON'),  # not even text
        ('[]', "is not a COCO JSON: it has no list 'images'"),
        ('{"images": []}', "is not a COCO JSON: it has no list 'annotations'"),
        (
            '{"images": {}, "annotations": [], "categories": []}',
            "is not a COCO JSON: it has no list 'images'",
        ),
    ],
)
def test_files_that_are_not_coco(tmp_path, text, message):
    path = tmp_path / 'train.json'
    if text is not None:
        path.write_bytes(text.encode(errors='surrogateescape'))
    with pytest.raises((FileNotFoundError, ValueError), match=f'train.json {message}'):
        read_coco(path)


def test_an_interrupted_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / 'a.json'
    write_json(path, [1])
    with monkeypatch.context() as patch:
        patch.setattr('os.replace', lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            write_json(path, [2])
    assert json.loads(path.read_text()) == [1]
    assert [p.name for p in tmp_path.iterdir()] == ['a.json']


def test_files_of_other_content_stay(tmp_path):
    assert write_beside({}) == []
    pair = [tmp_path / 'a.json', tmp_path / 'b.json']

    def names(*contents):
        return [file.name for file in write_beside(dict(zip(pair, contents, strict=True)))]

    assert names(1, 2) == ['a.json', 'b.json']
    # One that differs moves both; what is there already is found again.
    for _ in range(2):
        assert names(1, 3) == ['a_2.json', 'b_2.json']
        assert names(4, 3) == ['a_3.json', 'b_3.json']
        assert names(1, 2) == ['a.json', 'b.json']
    assert [json.loads(file.read_text()) for file in sorted(tmp_path.iterdir())] == [
        *(1, 1, 4),
        *(2, 3, 3),
    ]
    # The half of a pair that a killed process left.
    pair[0].unlink()
    assert names(5, 2) == ['a.json', 'b.json']


def run(*args):
    with mock.patch('sys.argv', [str(TOOL), *args]):
        runpy.run_path(str(TOOL), run_name='__main__')


def test_tool_without_files_says_so_in_one_line(tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        run('--data-root', str(tmp_path))
    assert stopped.value.code == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith('error: ')
    assert 'instances_train2017.json does not exist' in line


def test_tool(tmp_path, capsys):
    annotations = tmp_path / 'annotations'
    annotations.mkdir()
    write_json(annotations / 'instances_train2017.json', coco(100))
    run('--data-root', str(tmp_path))
    out = annotations / 'semi_supervised'
    assert len(list(out.iterdir())) == 4 * 5 * 3
    # The names that the configs read.
    assert (out / 'instances_train2017.1@10.json').is_file()
    assert (out / 'instances_train2017.1@10-unlabeled.json').is_file()
    assert str(out / 'instances_train2017.5@1-unlabeled-truth.json') in capsys.readouterr().out


def test_tool_with_unlabeled_images(tmp_path, capsys):
    annotations = tmp_path / 'annotations'
    annotations.mkdir()
    write_json(annotations / 'instances_train2017.json', coco(2))
    write_json(annotations / 'image_info_unlabeled2017.json', {'images': coco(5)['images']})
    info = 'annotations/image_info_unlabeled2017.json'
    run('--data-root', str(tmp_path), '--unlabeled', info)
    made = annotations / 'instances_unlabeled2017.json'
    assert capsys.readouterr().out == f'{made}\n'
    assert len(read_coco(made)['images']) == 5
    assert not (annotations / 'semi_supervised').exists()
