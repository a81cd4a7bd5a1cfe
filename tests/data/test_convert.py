"""Labels of other formats written as COCO JSON."""

import json
import logging

import pytest
from mmdet.datasets import CocoDataset
from PIL import Image

from ssod.checks.coco import check_coco
from ssod.data.convert import (
    convert,
    convert_for_run,
    is_coco,
    read_labels,
    split_of,
    with_classes,
)


def picture(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new('RGB', (40, 20)).save(path)


@pytest.fixture
def yolo(tmp_path):
    """Two images to learn from, one of them without an object, and one to score on."""
    root = tmp_path / 'yolo'
    for name in ('train/sub/a', 'train/b', 'val/c'):
        picture(root / f'images/{name}.jpg')
        file = root / f'labels/{name}.txt'
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text('' if name == 'train/b' else '1 0.5 0.5 0.2 0.333\n')
    (root / 'data.yaml').write_text('train: images/train\nval: images/val\nnames: [cat, dog]\n')
    return root


@pytest.fixture
def voc(tmp_path):
    """One image with a cow that is easy and one that is not, and no splits."""
    root = tmp_path / 'voc'
    picture(root / 'JPEGImages/a.jpg')
    box = '<bndbox><xmin>3</xmin><ymin>3</ymin><xmax>12</xmax><ymax>10</ymax></bndbox>'
    objects = [
        f'<object><name>cow</name><difficult>{hard}</difficult>{box}</object>' for hard in (0, 1)
    ]
    (root / 'Annotations').mkdir()
    (root / 'Annotations/a.xml').write_text(f'<annotation>{"".join(objects)}</annotation>')
    return root


def test_reading_shows_how_far_it_is(yolo, voc, monkeypatch):
    # Opening 100,000 images takes minutes on a slow disk.
    shown = []

    def show(items, what):
        shown.append((what, len(items)))
        return items

    for format_of in ('voc', 'yolo'):
        monkeypatch.setattr(f'ssod.data.{format_of}.with_progress', show)
    read_labels(yolo)
    read_labels(voc)
    assert shown == [
        ('reading the labels of train', 2),
        ('reading the labels of val', 1),
        ('reading labels', 1),
        ('looking at image sizes', 1),
    ]


def test_all_splits(yolo, tmp_path):
    written, remarks = convert(yolo, tmp_path / 'out')
    assert remarks == []
    assert {split: (made.file.name, made.told) for split, made in written.items()} == {
        'train': ('train.json', '2 images, 1 boxes, 2 classes'),
        'val': ('val.json', '1 images, 1 boxes, 2 classes'),
    }
    assert written['train'].images == yolo / 'images/train'
    content = json.loads(written['train'].file.read_text())
    assert content == {
        'info': {'images': str(yolo / 'images/train')},
        'images': [
            {'id': 1, 'file_name': 'b.jpg', 'width': 40, 'height': 20},
            {'id': 2, 'file_name': 'sub/a.jpg', 'width': 40, 'height': 20},
        ],
        'annotations': [
            {
                'id': 1,
                'image_id': 2,
                'category_id': 2,
                # A third of 20, to a ten thousandth of a pixel.
                'bbox': [16.0, 6.67, 8.0, 6.66],
                'area': 53.28,
                'iscrowd': 0,
            }
        ],
        'categories': [{'id': 1, 'name': 'cat'}, {'id': 2, 'name': 'dog'}],
    }
    # Nothing else is in the folder.
    assert sorted(path.name for path in (tmp_path / 'out').iterdir()) == ['train.json', 'val.json']


def converted(path, out_dir, split='train', classes=None):
    """The JSON of one split, and the folder of its images."""
    chosen = split_of(convert_for_run(path, out_dir, classes), split, path)
    return chosen.file, chosen.images


def test_mmdet_reads_it(voc, tmp_path):
    file, images = converted(voc, tmp_path)
    data = CocoDataset(
        ann_file=str(file),
        data_prefix=dict(img=f'{images}/'),
        metainfo=dict(classes=('cow',)),
        pipeline=[],
    )
    (info,) = (data.get_data_info(i) for i in range(len(data)))
    assert info['img_path'] == str(voc / 'JPEGImages/a.jpg')
    assert [(i['bbox'], i['bbox_label'], i['ignore_flag']) for i in info['instances']] == [
        ([2, 2, 12, 10], 0, 0),
        ([2, 2, 12, 10], 0, 1),
    ]


def test_our_own_checks_find_nothing(voc, yolo, tmp_path):
    for number, source in enumerate((voc, yolo)):
        file, _ = converted(source, tmp_path / str(number))
        content = json.loads(file.read_text())
        assert check_coco(content, str(file), 'labeled') == []


# What each row proves: classes of others come first, in their order, whatever these labels have; a
# class more is passed over later, as in any COCO JSON.
@pytest.mark.parametrize(
    ('classes', 'categories'),
    [
        ([], ['cat', 'dog']),
        (['dog'], ['dog', 'cat']),
        (['dog', 'cow', 'cat'], ['dog', 'cow', 'cat']),
    ],
)
def test_the_classes_of_other_data(yolo, tmp_path, classes, categories):
    file, _ = converted(yolo, tmp_path / 'out', 'val', classes)
    content = json.loads(file.read_text())
    names = {category['id']: category['name'] for category in content['categories']}
    assert list(names.values()) == categories
    assert [names[box['category_id']] for box in content['annotations']] == ['dog']


def test_a_class_that_other_data_call_otherwise(yolo, tmp_path):
    with pytest.raises(ValueError, match=r"yolo has the class 'cat', but .* only Cat, dog; "):
        converted(yolo, tmp_path / 'out', 'val', ['Cat', 'dog'])
    assert not (tmp_path / 'out').exists()


def coco_of_names(file, *names):
    """A COCO JSON with one box of each category; their ids are 7, 8 and so on."""
    content = {
        'images': [{'id': 1, 'file_name': 'a.jpg', 'height': 20, 'width': 40}],
        'annotations': [
            {'id': i, 'image_id': 1, 'category_id': 7 + i, 'bbox': [1, 1, 9, 9], 'area': 81}
            for i in range(len(names))
        ],
        'categories': [{'id': 7 + i, 'name': name} for i, name in enumerate(names)],
    }
    file.write_text(json.dumps(content))
    return content


@pytest.mark.parametrize(
    ('names', 'written'),
    [
        (['dog', 'cat'], ['cat', 'dog']),
        (['dog'], ['cat', 'dog']),
        (['other', 'dog', 'cat'], ['cat', 'dog', 'other']),
    ],
)
def test_categories_in_the_order_of_the_training_data(tmp_path, names, written):
    content = coco_of_names(tmp_path / 'mine.json', *names)
    file = with_classes(tmp_path / 'mine.json', ['cat', 'dog'], tmp_path / 'out')
    changed = json.loads(file.read_text())
    assert file == tmp_path / 'out/val.json'
    assert [category['name'] for category in changed['categories']] == written
    # Each box keeps its class, by mmdet's own numbers.
    dataset = CocoDataset(
        ann_file=str(file), metainfo=dict(classes=('cat', 'dog')), data_prefix=dict(img='')
    )
    labels = [box['bbox_label'] for box in dataset.get_data_info(0)['instances']]
    assert labels == [['cat', 'dog'].index(name) for name in names if name != 'other']
    del changed['categories'], content['categories']
    assert changed == content
    # Done again, as by a resumed run, it is the same file.
    assert with_classes(tmp_path / 'mine.json', ['cat', 'dog'], tmp_path / 'out') == file


@pytest.mark.parametrize(
    'names',
    [
        ['cat', 'dog'],
        ['other', 'cat', 'dog'],
        # One of them may be misspelt.
        ['cat', 'dgo'],
        ['dog', 'cat', 'dog'],
        ['cat', None],
        [],
    ],
)
def test_categories_that_stay_as_they_are(tmp_path, names):
    coco_of_names(tmp_path / 'mine.json', *names)
    file = with_classes(tmp_path / 'mine.json', ['cat', 'dog'], tmp_path / 'out')
    assert file == tmp_path / 'mine.json'
    assert not (tmp_path / 'out').exists()


def test_classes_that_are_wrong_themselves_change_nothing(tmp_path):
    coco_of_names(tmp_path / 'mine.json', 'dog', 'cat')
    file = with_classes(tmp_path / 'mine.json', ['cat', 'dog', 'cat'], tmp_path / 'out')
    assert file == tmp_path / 'mine.json'


def test_other_files_are_not_replaced(yolo, tmp_path):
    convert(yolo, tmp_path)
    old = (tmp_path / 'train.json').read_text()
    # What is the same may be there.
    convert(yolo, tmp_path)
    (tmp_path / 'val.json').write_text('{"images":[],"annotations":[],"categories":[]}')
    (yolo / 'labels/train/b.txt').write_text('0 0.5 0.5 0.5 0.5')
    for name in ('train', 'val'):
        with pytest.raises(FileExistsError, match=r'\.json exists with other content'):
            convert(yolo, tmp_path)
        # Not the first of two either.
        assert (tmp_path / 'train.json').read_text() == old
        (tmp_path / f'{name}.json').unlink()
        (tmp_path / 'train.json').write_text(old)
    convert(yolo, tmp_path, overwrite=True)
    assert len(json.loads((tmp_path / 'train.json').read_text())['annotations']) == 2


@pytest.mark.parametrize('text', ['{"epochs": 3}', 'no JSON', '[]'])
def test_a_file_that_is_no_coco_json_is_not_replaced(yolo, tmp_path, text):
    (tmp_path / 'train.json').write_text(text)
    with pytest.raises(FileExistsError, match=r'train\.json exists with other content; remove it'):
        convert(yolo, tmp_path)
    assert (tmp_path / 'train.json').read_text() == text
    convert(yolo, tmp_path, overwrite=True)


@pytest.mark.parametrize(
    ('name', 'text'),
    [
        # Of another tool: hidden, without names, broken, without anything, or a folder.
        ('.pre-commit.yaml', 'names: [a]\ntrain: x'),
        ('compose.yml', 'services: {}'),
        ('data.yaml', 'path: .'),
        ('broken.yaml', 'a: ['),
        ('empty.yaml', ''),
        ('folder.yaml', None),
    ],
)
def test_a_yaml_file_beside_xml_files(voc, name, text):
    if text is None:
        (voc / name).mkdir()
    else:
        (voc / name).write_text(text)
    assert list(read_labels(voc).classes) == ['cow']


def test_other_yaml_files_beside_that_of_yolo(yolo):
    (yolo / 'data.yaml').rename(yolo / 'own.yaml')
    (yolo / 'compose.yml').write_text('services: {}')
    assert list(read_labels(yolo).classes) == ['cat', 'dog']
    # XML files of an editor do not count.
    (yolo / '.idea').mkdir()
    (yolo / '.idea/misc.xml').write_text('<project/>')
    (yolo / 'own.yaml').unlink()
    with pytest.raises(ValueError, match=r'compose.yml: names is None; list the classes'):
        read_labels(yolo)


def test_for_a_run(yolo, voc, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    file, images = converted(yolo / 'data.yaml', tmp_path / 'run', 'val')
    assert (file, images) == (tmp_path / 'run/val.json', yolo / 'images/val')
    # A data set that is not split is both.
    for split in ('train', 'val'):
        file, images = converted(voc, tmp_path / 'other', split)
        assert (file.name, images) == ('train.json', voc / 'JPEGImages')
    with pytest.raises(ValueError, match="yolo has no split 'test', only train, val; add it"):
        converted(yolo, tmp_path / 'run', 'test')
    # What changed since is converted anew.
    (yolo / 'labels/val/c.txt').write_text('')
    file, _ = converted(yolo, tmp_path / 'run', 'val')
    assert json.loads(file.read_text())['annotations'] == []


def test_it_is_told_in_one_line(voc, tmp_path, monkeypatch):
    told = []
    monkeypatch.setattr('ssod.data.convert.print_log', lambda text, *_: told.append(text))
    converted(voc, tmp_path)
    assert told == [
        f'{voc} converted to COCO JSON in {tmp_path}: train: 1 images, 2 boxes, 1 classes; '
        f'difficult objects, ignored: 1'
    ]


@pytest.mark.parametrize(
    ('name', 'error', 'message'),
    [
        ('none', FileNotFoundError, 'none does not exist; correct the path'),
        ('none.yaml', FileNotFoundError, 'none.yaml does not exist; correct the path'),
        ('empty', FileNotFoundError, 'no image in .*empty or its sub-folders'),
        # Images alone, or two files of which none is called data.yaml.
        ('images', ValueError, r'images has neither one data.yaml \(YOLO\) nor XML files'),
        ('two', ValueError, r'two has neither one data.yaml'),
        # As Roboflow exports COCO.
        ('coco', ValueError, r'; if .*coco/train/_annotations.coco.json is a COCO JSON, give that'),
    ],
)
def test_what_is_none_of_them(tmp_path, name, error, message):
    (tmp_path / 'empty').mkdir()
    for folder in ('images', 'two', 'coco/train'):
        picture(tmp_path / folder / 'a.jpg')
    (tmp_path / 'coco/train/_annotations.coco.json').touch()
    for file in ('one.yaml', 'other.yaml'):
        (tmp_path / 'two' / file).write_text('names: [a]')
    with pytest.raises(error, match=message):
        convert(tmp_path / name, tmp_path / 'out')


def test_what_is_coco_already():
    assert is_coco('a/b.JSON')
    assert not is_coco('a/data.yaml')
    assert not is_coco('a')
