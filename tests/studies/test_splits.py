"""Which images are labelled, and which are kept aside."""

import json
from pathlib import Path

import pytest

from ssod.studies.splits import (
    drawn,
    held_out_names,
    labeled_names,
    read_names,
    write_budget,
    write_validation,
)

IMAGES = [{'id': i, 'file_name': f'{i}.png'} for i in range(12)]


def test_a_draw():
    assert drawn(IMAGES, 1, 0) == []
    four = drawn(IMAGES, 1, 4)
    assert len(set(four)) == 4
    # The order in the file does not matter, the number of the draw does.
    assert drawn(IMAGES[::-1], 1, 4) == four
    assert drawn(IMAGES, 2, 4) != four
    # More begin with fewer.
    assert drawn(IMAGES, 1, 7)[:4] == four


def test_a_fold_is_drawn_once(tmp_path):
    path = labeled_names(tmp_path / 'set/fold1.txt', IMAGES, 1, [10, 50, 25])
    assert read_names(path) == drawn(IMAGES, 1, 6)
    path.write_text('7.png\n')
    labeled_names(path, IMAGES, 1, [10, 50, 25])
    assert read_names(path) == ['7.png']


def test_a_third_is_kept_aside(tmp_path):
    path = held_out_names(tmp_path / 'held_out.txt', IMAGES)
    names = read_names(path)
    assert len(set(names)) == 4
    assert names == sorted(names)


def test_a_budget(data_root, tmp_path):
    train = data_root / 'cells/annotations/instances_train.json'
    names = tmp_path / 'fold1.txt'
    names.write_text('0_07.png\n0_02.png\n0_05.png\n')
    labeled, unlabeled, truth = write_budget(names, train, 17, tmp_path / 'out')
    labeled, unlabeled, truth = (json.loads(p.read_text()) for p in (labeled, unlabeled, truth))
    # 17 % of twelve are two: the first two that were drawn.
    assert [i['file_name'] for i in labeled['images']] == ['0_02.png', '0_07.png']
    assert [a['image_id'] for a in labeled['annotations']] == [2, 7]
    assert len(unlabeled['images']) == 10
    # The trap of files that keep their labels.
    assert unlabeled['annotations'] == []
    assert sorted(a['image_id'] for a in truth['annotations']) == [0, 1, 3, 4, 5, 6, 8, 9, 10, 11]
    assert {len(part['categories']) for part in (labeled, unlabeled, truth)} == {2}


@pytest.mark.parametrize(
    ('names', 'percent', 'message'),
    [
        # Three of twelve are 25 %.
        ('0_00.png\n0_01.png\n', 25, 'names 2 images, but 25 percent of .* are 3'),
        (
            '0_00.png\n0_99.png\n',
            17,
            'names 0_99.png, but .*instances_train.json has no such image',
        ),
    ],
)
def test_a_fold_that_does_not_fit(data_root, tmp_path, names, percent, message):
    path = tmp_path / 'fold1.txt'
    path.write_text(names)
    train = data_root / 'cells/annotations/instances_train.json'
    with pytest.raises(ValueError, match=message):
        write_budget(path, train, percent, tmp_path / 'out')


def test_names_with_characters_that_end_lines_elsewhere(tmp_path):
    images = [{'file_name': f'{i}\u2028\x85\x0c.png'} for i in range(4)]
    path = labeled_names(tmp_path / 'fold1.txt', images, 1, [50])
    assert read_names(path) == drawn(images, 1, 2)


def test_what_is_kept_aside_is_not_scored(data_root, tmp_path):
    names = tmp_path / 'held_out.txt'
    names.write_text('1_03.png\n1_04.png\n')
    val = data_root / 'cells/annotations/instances_val.json'
    scored, aside = write_validation(names, val, tmp_path / 'out')
    scored, aside = (json.loads(p.read_text()) for p in (scored, aside))
    assert [i['file_name'] for i in aside['images']] == ['1_03.png', '1_04.png']
    assert len(scored['images']) == 10
    assert {a['image_id'] for a in scored['annotations']} == {0, 1, 2, *range(5, 12)}


@pytest.mark.parametrize('name, count', [('voc2007_s320', 240), ('bccd', 20), ('digits', 30)])
def test_the_folds_of_the_studies_are_in_the_repository(name, count):
    place = Path('studies/splits') / name
    folds = [read_names(place / f'fold{k}.txt') for k in range(1, 6)]
    assert [len(set(names)) for names in folds] == [count] * 5
    assert len(set(map(tuple, folds))) == 5
    assert read_names(place / 'held_out.txt')


def test_a_budget_of_no_image_is_refused(tmp_path):
    images = [{'file_name': f'{i}.png'} for i in range(40)]
    path = tmp_path / 'fold1.txt'
    with pytest.raises(
        ValueError, match='fold1.txt: 1 percent of 40 images is no image; use a lar'
    ):
        labeled_names(path, images, 1, [10, 1])
    assert not path.exists()
