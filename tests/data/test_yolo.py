"""Labels in YOLO's format."""

import re
from pathlib import Path

import pytest
from PIL import Image

from ssod.data.convert import read_labels


def picture(path, size=(40, 20)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new('RGB', size).save(path)


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture
def yolo(tmp_path):
    """One image and a box in its middle."""
    picture(tmp_path / 'images/train/a.jpg')
    write(tmp_path / 'labels/train/a.txt', '1 0.5 0.5 0.2 0.5\n')
    write(tmp_path / 'data.yaml', 'path: .\ntrain: images/train\nnames: [cat, dog]\n')
    return tmp_path


def corners_of(root, split='train'):
    """Label and corners of all boxes, to a thousandth of a pixel."""
    return [
        (box.label, *(round(value, 3) for value in box.corners))
        for image in read_labels(root).splits[split]
        for box in image.boxes
    ]


def test_shares_become_pixels(yolo):
    labels = read_labels(yolo / 'data.yaml')
    assert (labels.classes, labels.remarks) == (['cat', 'dog'], [])
    (image,) = labels.splits['train']
    assert (image.path.name, image.size) == ('a.jpg', (40, 20))
    # 8 of 40 wide around 20, 10 of 20 high around 10.
    assert corners_of(yolo) == [(1, 16, 5, 24, 15)]


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        # No object: an empty file, or one of blanks.
        ('', []),
        ('\n \n', []),
        # A class as numpy writes it.
        ('1.000e+00 0.5 0.5 0.2 0.5', [(1, 16, 5, 24, 15)]),
        # A polygon becomes the box around it; the other line stays a box.
        (
            '0 0.1 0.2 0.5 0.1 0.3 0.6\n1 0.5 0.5 0.2 0.5',
            [(0, 4, 2, 20, 12), (1, 16, 5, 24, 15)],
        ),
        # What leaves the image is cut off.
        ('0 0.0 1.0 0.5 0.5', [(0, 0, 15, 10, 20)]),
        # Rounding gives a little more than all of it.
        ('0 0.5 0.5 1.000002 1.0', [(0, 0, 0, 40, 20)]),
    ],
)
def test_lines(yolo, text, expected):
    write(yolo / 'labels/train/a.txt', text)
    assert corners_of(yolo) == expected


def test_keypoints_are_no_polygon(yolo):
    # Of seven values, or of nine: without kpt_shape they would be triangles and squares.
    write(yolo / 'data.yaml', 'train: images/train\nnames: [cat, dog]\nkpt_shape: [1, 2]\n')
    write(yolo / 'labels/train/a.txt', '1 0.5 0.5 0.2 0.5 0.9 0.9')
    assert corners_of(yolo) == [(1, 16, 5, 24, 15)]
    assert read_labels(yolo).remarks == []


def test_what_is_worth_a_remark(yolo):
    picture(yolo / 'images/train/b.PNG')
    write(yolo / 'labels/train/a.txt', '0 0.1 0.2 0.5 0.1 0.3 0.6\n0 0.0 1.0 0.5 0.5')
    labels = read_labels(yolo)
    assert [len(image.boxes) for image in labels.splits['train']] == [2, 0]
    assert labels.remarks == [
        'images without a label file, assumed to contain no objects: 1',
        'polygons, replaced by the boxes around them: 1',
        'boxes that reach outside their images, clipped: 1',
    ]
    picture(yolo / 'images/train/a.png')
    shared = 'images that share their label file with one of another ending: 2'
    assert shared in read_labels(yolo).remarks


def test_labels_of_what_is_not_named_like_an_image_are_told(yolo):
    for name in ('b.jfif', 'c.gif'):
        (yolo / 'images/train' / name).touch()
        write(yolo / f'labels/train/{name[0]}.txt', '1 0.5 0.5 0.2 0.5')
    # None of these holds boxes of an image: two lists, and an image without objects that is gone.
    write(yolo / 'labels/train/classes.txt', 'a big cat sat down\n')
    write(yolo / 'labels/train/ids.txt', '1 2\n')
    write(yolo / 'labels/train/d.txt', '\n')
    (remark,) = read_labels(yolo).remarks
    assert remark.startswith('label files without an image (looked for .bmp, ')
    assert remark.endswith('), ignored: 2')
    # What another split has is not without one.
    write(yolo / 'data.yaml', 'train: train.txt\nval: val.txt\nnames: [cat, dog]\n')
    for split, name in (('train', 'a'), ('val', 'c')):
        picture(yolo / f'images/train/{name}.jpg')
        write(yolo / f'{split}.txt', f'images/train/{name}.jpg\n')
    assert read_labels(yolo).remarks[0].endswith('), ignored: 1')


@pytest.mark.parametrize(
    ('names', 'classes'),
    [
        ('[b, a]', ['b', 'a']),
        ('{0: b, 1: a}', ['b', 'a']),
        # In quotes.
        ('{"1": a, "0": b}', ['b', 'a']),
        # Eleven, so that 10 comes before 2 in the alphabet; in any order.
        (
            '{' + ', '.join(f'{i}: n{i}' for i in reversed(range(11))) + '}',
            [f'n{i}' for i in range(11)],
        ),
        # Numbers as names.
        ('[0, 1.5]', ['0', '1.5']),
        ('["yes", "null"]', ['yes', 'null']),
    ],
)
def test_names(yolo, names, classes):
    # Their number too may be in quotes.
    for count in (len(classes), f'"{len(classes)}"'):
        write(yolo / 'data.yaml', f'train: images/train\nnames: {names}\nnc: {count}\n')
        assert read_labels(yolo).classes == classes


@pytest.mark.parametrize(
    ('setting', 'names'),
    [
        # A folder with its sub-folders, whose labels are in sub-folders too.
        ('images/train', ['a', 'c']),
        # Several folders.
        ('[images/train/sub, images/more]', ['c', 'd']),
        # A list, whose paths begin where it is.
        ('list.txt', ['d', 'a']),
        # As Roboflow writes what is beside the file.
        ('../images/more', ['d']),
        # As Windows writes it.
        (r'..\images\more', ['d']),
        ('windows.txt', ['d', 'a']),
        # What is listed twice counts once.
        ('[twice.txt, images/more]', ['a', 'd']),
    ],
)
def test_where_images_are(yolo, setting, names):
    for name in ('train/sub/c', 'more/d'):
        picture(yolo / f'images/{name}.jpg')
        write(yolo / f'labels/{name}.txt', '0 0.5 0.5 0.2 0.2')
    write(yolo / 'list.txt', './images/more/d.jpg\n\nimages/train/a.jpg\n')
    write(yolo / 'windows.txt', '.\\images\\more\\d.jpg\nimages\\train\\a.jpg\n')
    write(yolo / 'twice.txt', 'images/train/a.jpg\nimages/more/../train/a.jpg\nimages/more/d.jpg')
    write(yolo / 'data.yaml', f'train: {setting}\nval: images/more\nnames: [cat, dog]\n')
    splits = read_labels(yolo).splits
    assert [image.path.stem for image in splits['train']] == names
    assert [image.path.stem for image in splits['val']] == ['d']
    assert all(image.boxes for images in splits.values() for image in images)


def test_beside_their_labels(tmp_path):
    # No folder is called images: the labels are beside them.
    picture(tmp_path / 'all/a.jpg')
    write(tmp_path / 'all/a.txt', '0 0.5 0.5 0.2 0.5')
    write(tmp_path / 'own.yml', 'train: all\nnames: [cat]\n')
    assert corners_of(tmp_path) == [(0, 16, 5, 24, 15)]


def test_in_a_folder_with_a_colon_in_its_name(tmp_path):
    picture(tmp_path / 'one: two/all/a.jpg')
    write(tmp_path / 'one: two/all/a.txt', '0 0.5 0.5 0.2 0.5')
    write(tmp_path / 'one: two/data.yaml', 'train: all\nnames: [cat]\n')
    assert corners_of(tmp_path / 'one: two') == [(0, 16, 5, 24, 15)]


def test_the_last_folder_called_images_counts(tmp_path):
    picture(tmp_path / 'images/x/images/a.jpg')
    write(tmp_path / 'images/x/labels/a.txt', '0 0.5 0.5 0.2 0.5')
    write(tmp_path / 'data.yaml', 'train: images/x/images\nnames: [cat]\n')
    assert corners_of(tmp_path) == [(0, 16, 5, 24, 15)]


def test_from_within_images(yolo, monkeypatch):
    # What is spelled does not have the part that becomes labels.
    for name in ('data.yaml', 'list.txt'):
        write(yolo / 'images' / name, 'train: train\nval: list.txt\nnames: [cat, dog]\n')
    write(yolo / 'images/list.txt', 'train/a.jpg')
    monkeypatch.chdir(yolo / 'images')
    for split in ('train', 'val'):
        assert corners_of(Path('data.yaml'), split) == [(1, 16, 5, 24, 15)]


def test_beside_their_labels_within_images(tmp_path):
    # The data set itself lies in a folder called images.
    root = tmp_path / 'images/set'
    picture(root / 'all/a.jpg')
    write(root / 'all/a.txt', '0 0.5 0.5 0.2 0.5')
    write(root / 'data.yaml', 'train: all\nnames: [cat]\n')
    assert corners_of(root) == [(0, 16, 5, 24, 15)]


def test_no_label_at_all(yolo):
    (yolo / 'labels/train/a.txt').rename(yolo / 'labels/a.txt')
    told = r'data.yaml: train has 1 images, but none has a label file such as .*labels/train/a.txt;'
    with pytest.raises(ValueError, match=told):
        read_labels(yolo)
    # The same where there is no such folder.
    (yolo / 'labels').rename(yolo / 'Labels')
    with pytest.raises(ValueError, match=told):
        read_labels(yolo)
    # One that is empty is one.
    write(yolo / 'labels/train/a.txt', '')
    assert corners_of(yolo) == []


def test_encodings(yolo):
    (yolo / 'labels/train/a.txt').write_bytes(b'\xef\xbb\xbf1 0.5 0.5 0.2 0.5')
    (yolo / 'list.txt').write_bytes(b'\xef\xbb\xbfimages/train/a.jpg')
    (yolo / 'data.yaml').write_bytes(b'\xef\xbb\xbftrain: list.txt\nnames: [cat, dog]')
    assert corners_of(yolo) == [(1, 16, 5, 24, 15)]
    for name in ('labels/train/a.txt', 'list.txt'):
        old = (yolo / name).read_bytes()
        (yolo / name).write_bytes('1 0.5'.encode('utf-16'))
        with pytest.raises(ValueError, match=f'{name} is not in UTF-8: .*; save it again'):
            read_labels(yolo)
        (yolo / name).write_bytes(old)


def test_another_path(yolo):
    other = yolo / 'elsewhere'
    other.mkdir()
    (yolo / 'data.yaml').rename(other / 'data.yaml')
    write(other / 'data.yaml', f'path: {yolo}\ntrain: images/train\nnames: [cat, dog]\n')
    assert corners_of(other) == [(1, 16, 5, 24, 15)]
    # As Windows writes it.
    write(other / 'data.yaml', 'path: .\\..\\x\\..\ntrain: images/train\nnames: [cat, dog]\n')
    (yolo / 'x').mkdir()
    assert corners_of(other) == [(1, 16, 5, 24, 15)]


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('0 0.5 0.5 0.2 0.2\n1 0.5 0.5 0.2', 'a.txt, line 2 has 4 values; a box has 5'),
        # A box with a score.
        ('0 0.5 0.5 0.2 0.2 0.9', 'a.txt, line 1 has 6 values; a box has 5'),
        # A polygon that lacks a coordinate.
        ('0 0.1 0.1 0.2 0.2 0.1 0.3 0.4', 'a.txt, line 1 has 8 values'),
        ('0 0.5 x 0.2 0.2', "a.txt, line 1: 'x' is not a number"),
        ('0 0.5 nan 0.2 0.2', "a.txt, line 1: 'nan' is not a number"),
        ('2 0.5 0.5 0.2 0.2', 'a.txt, line 1: there is no class 2; names has 0 to 1'),
        ('-1 0.5 0.5 0.2 0.2', 'there is no class -1'),
        ('0.5 0.5 0.5 0.2 0.2', r'there is no class 0\.5'),
        # Pixels.
        ('0 20 10 8 5', 'a.txt, line 1: 20 is not a share of the image from 0 to 1'),
        ('0 0.5 0.5 -0.2 0.2', r'line 1: -0\.2 is not a share of the image'),
        # No width.
        ('0 0.5 0.5 0 0.5', 'line 1: the box x1, y1, x2, y2 = 20, 5, 20, 15 has no area'),
    ],
)
def test_mistakes_in_labels_are_told(yolo, text, message):
    write(yolo / 'labels/train/a.txt', text)
    with pytest.raises(ValueError, match=message) as caught:
        read_labels(yolo)
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('a: [', 'data.yaml is not YAML: while parsing'),
        ('', 'data.yaml has no settings'),
        ('train: images/train', 'data.yaml: names is None; list the classes'),
        ('train: images/train\nnames: []', r'names is \[\]; list the classes'),
        # A gap would give all labels after it another name.
        ('train: images/train\nnames: {0: a, 2: b}', 'names has the keys 0, 2; number the classes'),
        ('train: images/train\nnames: {a: 0, b: 1}', 'names has the keys a, b'),
        # One number twice.
        ('train: images/train\nnames: {0: a, "0": b}', 'names has the keys 0, 0'),
        ('train: images/train\nnames: [a, b]\nnc: 3', 'nc is 3, but names has 2 classes'),
        ('train: images/train\nnames: [a, b]\nnc: "3"', 'nc is 3, but names has 2 classes'),
        # What YAML has words for: truth, nothing, dates.
        ('train: images/train\nnames: [yes, no]', 'YAML reads class 0 of names as True, which is'),
        ('train: images/train\nnames: {0: a, 1: off}', 'class 1 of names as False, .* in quotes'),
        ('train: images/train\nnames:\n- a\n-\n', 'YAML reads class 1 of names as None, which is'),
        ('train: images/train\nnames: [2024-05-01]', 'YAML reads class 0 of names as datetime'),
        ('train: images/train\nnames: [[a]]', r"YAML reads class 0 of names as \['a'\], which is"),
        ('train: images/train\nnames: [a, " "]', "data.yaml: class 1 of names is ' '; give it a"),
        # One name twice, whichever way it is written.
        ('train: images/train\nnames: [b, a, a]', "names has 'a' as class 1 and as class 2; give"),
        ('train: images/train\nnames: {0: 7, 1: "7"}', "names has '7' as class 0 and as class 1"),
        ('names: [a]', 'there is no train, val or test'),
        ('names: [a, b]\ntrain: images/train\nkpt_shape: 3', 'kpt_shape is 3; write'),
    ],
)
def test_mistakes_in_settings_are_told(yolo, text, message):
    write(yolo / 'data.yaml', text)
    with pytest.raises(ValueError, match=message) as caught:
        read_labels(yolo)
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize(
    ('train', 'content', 'message'),
    [
        ('none', '', r'data.yaml: train is none, which is not in .*; correct it or path'),
        ('list.txt', 'images/x.jpg', r'list.txt, line 1: .*x.jpg does not exist'),
        ('empty', '', 'no image in .*empty or its sub-folders'),
    ],
)
def test_what_is_missing_is_told(yolo, train, content, message):
    (yolo / 'empty').mkdir()
    write(yolo / 'list.txt', content)
    write(yolo / 'data.yaml', f'train: {train}\nnames: [cat, dog]\n')
    with pytest.raises(FileNotFoundError, match=message):
        read_labels(yolo)


@pytest.mark.parametrize(
    ('test', 'remark'),
    [
        # As Roboflow names it, though nothing was exported.
        ('../test/images', r'^left out of test: .*data.yaml: test is ../test/images, which is not'),
        ('empty', r'^left out of test: no image in .*empty or its sub-folders'),
        ('empty.txt', r'^test has no image, left out$'),
    ],
)
def test_without_test_images(yolo, test, remark):
    (yolo / 'empty').mkdir()
    write(yolo / 'empty.txt', '\n')
    settings = 'train: images/train\nnames: [cat, dog]\n'
    write(yolo / 'data.yaml', f'{settings}test: {test}\n')
    labels = read_labels(yolo)
    assert list(labels.splits) == ['train']
    (told,) = labels.remarks
    assert re.search(remark, told)
    # Of several, the others are left.
    write(yolo / 'data.yaml', f'{settings}test: [{test}, images/train]\n')
    assert [image.path.stem for image in read_labels(yolo).splits['test']] == ['a']
    # A mistake in a list is one.
    write(yolo / 'empty.txt', 'x.jpg')
    write(yolo / 'data.yaml', f'{settings}test: empty.txt\n')
    with pytest.raises(FileNotFoundError, match=r'empty.txt, line 1: .*x.jpg does not exist'):
        read_labels(yolo)


def test_without_other_images(yolo):
    settings = 'train: images/train\nnames: [cat, dog]\n'
    write(yolo / 'empty.txt', '')
    write(yolo / 'data.yaml', f'{settings}val: none\n')
    (told,) = read_labels(yolo).remarks
    assert 'left out of val: ' in told
    assert 'data.yaml: val is none, which is not in' in told
    write(yolo / 'data.yaml', 'train: none\nnames: [cat, dog]\n')
    with pytest.raises(FileNotFoundError, match='data.yaml: train is none, which is not in'):
        read_labels(yolo)
    write(yolo / 'data.yaml', f'{settings}val: empty.txt\n')
    assert read_labels(yolo).remarks == ['val has no image, left out']
    write(yolo / 'data.yaml', 'train: empty.txt\nval: images/train\nnames: [cat, dog]\n')
    with pytest.raises(ValueError, match=r'data.yaml: train has no image; add some'):
        read_labels(yolo)


def test_a_list_of_no_images(yolo):
    write(yolo / 'list.txt', 'data.yaml')
    write(yolo / 'data.yaml', 'train: list.txt\nnames: [cat, dog]\n')
    with pytest.raises(ValueError, match='line 1: .*data.yaml is not named like an image'):
        read_labels(yolo)


def test_most_boxes_outside_are_two_corners(yolo):
    # From (0.5, 0.2) to (0.9, 0.8), as shares of the image.
    corners, centre = '1 0.5 0.2 0.9 0.8\n', '1 0.5 0.5 0.2 0.5\n'
    write(yolo / 'labels/train/a.txt', 6 * corners + 6 * centre)
    assert read_labels(yolo).remarks == ['boxes that reach outside their images, clipped: 6']
    write(yolo / 'labels/train/a.txt', 7 * corners + 6 * centre)
    with pytest.raises(
        ValueError, match=r'data.yaml: 7 of 13 boxes reach outside .*, not two corners'
    ):
        read_labels(yolo)


def test_a_box_that_rounds_to_nothing(yolo):
    write(yolo / 'labels/train/a.txt', '1 0.5 0.5 0.0000001 0.5\n')
    with pytest.raises(ValueError, match=r'a.txt, line 1: the box .* has no area within its image'):
        read_labels(yolo)
