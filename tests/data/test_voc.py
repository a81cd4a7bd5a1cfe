"""Labels in Pascal VOC's format."""

import pytest
from PIL import Image

from ssod.data.convert import read_labels

OBJECT = (
    '<object><name>{name}</name>{extra}<bndbox><xmin>{0}</xmin><ymin>{1}</ymin>'
    '<xmax>{2}</xmax><ymax>{3}</ymax></bndbox></object>'
)


def picture(path, size=(40, 30), turn=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.new('RGB', size)
    exif = image.getexif()
    if turn:
        exif[0x112] = turn
    image.save(path, exif=exif)


def entry(name, *corners, extra=''):
    return OBJECT.format(*corners, name=name, extra=extra)


def label(path, *objects, head=''):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'<annotation>{head}{"".join(objects)}</annotation>')


@pytest.fixture
def voc(tmp_path):
    """A dog that fills its picture but for a pixel, in VOC's own folders."""
    root = tmp_path / 'voc'
    picture(root / 'JPEGImages/a.jpg')
    label(root / 'Annotations/a.xml', entry('dog', 1, 1, 39, 29))
    return root


def only_image(root):
    labels = read_labels(root)
    (images,) = labels.splits.values()
    (image,) = images
    return labels, image


def test_pixels_count_from_1(voc):
    labels, image = only_image(voc)
    assert (labels.classes, labels.remarks) == (['dog'], [])
    assert (image.path, image.size) == (voc / 'JPEGImages/a.jpg', (40, 30))
    # The first 39 of 40 columns: from the left edge of the first to the right edge of the last.
    assert [box.corners for box in image.boxes] == [(0, 0, 39, 29)]


def test_pixels_that_count_from_0(voc):
    # One box that begins at 0 shows how all of them are meant.
    picture(voc / 'JPEGImages/b.jpg')
    label(voc / 'Annotations/b.xml', entry('dog', 0, 5, 10, 10))
    labels = read_labels(voc)
    corners = [image.boxes[0].corners for image in labels.splits['train']]
    assert corners == [(1, 1, 39, 29), (0, 5, 10, 10)]
    assert labels.remarks == [
        'a box begins at pixel 0, so pixels are assumed to count from 0, not from 1'
    ]


def test_an_image_without_objects(voc):
    label(voc / 'Annotations/a.xml')
    labels, image = only_image(voc)
    assert (labels.classes, image.boxes) == ([], [])


def test_one_pixel(voc):
    label(voc / 'Annotations/a.xml', entry('dog', 7, 8, 7, 8))
    assert only_image(voc)[1].boxes[0].corners == (6, 7, 7, 8)


def test_difficult_objects_are_ignored(voc):
    # A part's box is not the object's.
    part = '<part><name>head</name><bndbox><xmin>2</xmin></bndbox></part>'
    hard, easy = (part + f'<difficult>{flag}</difficult>' for flag in (1, 0))
    label(
        voc / 'Annotations/a.xml',
        entry('dog', 1, 1, 9, 9, extra=hard),
        entry('cat', 2, 2, 8.5, 9, extra=easy),
    )
    labels, image = only_image(voc)
    # In the order of the alphabet, whoever comes first.
    assert labels.classes == ['cat', 'dog']
    assert [(box.label, box.ignored) for box in image.boxes] == [(1, True), (0, False)]
    assert image.boxes[1].corners == (1, 1, 8.5, 9)
    assert labels.remarks == ['difficult objects, ignored: 1']


@pytest.mark.parametrize('flag', ['', ' ', 'Unspecified', '0'])
def test_what_is_not_said_to_be_difficult(voc, flag):
    extra = f'<difficult>{flag}</difficult>'
    label(voc / 'Annotations/a.xml', entry('dog', 1, 1, 9, 9, extra=extra))
    assert [box.ignored for box in only_image(voc)[1].boxes] == [False]


def test_boxes_are_clipped(voc):
    # By one pixel, as rounding does, and by ten.
    label(voc / 'Annotations/a.xml', entry('dog', 1, 1, 41, 30), entry('dog', 31, 1, 50, 30))
    labels, image = only_image(voc)
    assert [box.corners for box in image.boxes] == [(0, 0, 40, 30), (30, 0, 40, 30)]
    assert labels.remarks == ['boxes that reach outside their images, clipped: 1']


def test_images_without_labels_are_left_out(voc):
    picture(voc / 'JPEGImages/b.jpg')
    labels, image = only_image(voc)
    assert image.path.name == 'a.jpg'
    assert labels.remarks == ['images without an XML file, left out: 1']


@pytest.mark.parametrize(
    ('pictures', 'xml', 'head', 'meant'),
    [
        # Beside the image, and extensions in capitals.
        (['x/b.JPG'], 'x/b.XML', '', 'x/b.JPG'),
        # In sub-folders that correspond, though the same name is in another.
        (['JPEGImages/s/b.png', 'JPEGImages/t/b.png'], 'Annotations/t/b.xml', '', 't/b.png'),
        # VOC's masks are called like its images: the extension that is named decides.
        (['JPEGImages/b.jpg', 'Masks/b.png'], 'Annotations/b.xml', 'b.jpg', 'JPEGImages/b.jpg'),
        # An XML file that is called otherwise.
        *((['x/c.jpg'], 'y/b.xml', head, 'c.jpg') for head in ('f/c.jpg', r'D:\f\c.jpg')),
        # A file that was renamed with its label.
        (['JPEGImages/b.jpg', 'JPEGImages/c.jpg'], 'Annotations/b.xml', 'c.jpg', 'b.jpg'),
    ],
)
def test_which_image_is_meant(tmp_path, pictures, xml, head, meant):
    for name in pictures:
        picture(tmp_path / name)
    label(tmp_path / xml, head=f'<filename>{head}</filename>')
    assert only_image(tmp_path)[1].path.as_posix().endswith(f'/{meant}')


def test_an_image_is_that_of_one_file(tmp_path):
    # The image of train/1.xml is missing; it must not get the one of the other split.
    picture(tmp_path / 'val/1.jpg')
    for split in ('train', 'val'):
        label(tmp_path / split / '1.xml')
    told = 'train/1.xml: its only possible image is .*val/1.jpg, but that belongs to .*val/1.xml;'
    with pytest.raises(ValueError, match=told):
        read_labels(tmp_path)
    # In folders beside each other, too.
    for name in ('images/val/1.jpg', 'Annotations/val/1.xml', 'Annotations/train/1.xml'):
        (picture if name.endswith('jpg') else label)(tmp_path / 'apart' / name)
    with pytest.raises(ValueError, match='Annotations/train/1.xml: its only possible image is'):
        read_labels(tmp_path / 'apart')


@pytest.mark.parametrize(
    ('other', 'head'),
    [
        # A copy as near as the file itself.
        ('Copies/a.xml', ''),
        # Two that both name another's image, which has none of its own.
        ('Annotations/b.xml', 'c.jpg'),
    ],
)
def test_two_files_of_one_image(voc, other, head):
    if head:
        (voc / 'JPEGImages/a.jpg').rename(voc / 'JPEGImages/c.jpg')
    for name in ('Annotations/a.xml', other):
        label(voc / name, head=f'<filename>{head}</filename>')
    with pytest.raises(ValueError, match=r'a.xml and .*(a|b).xml both describe .*jpg; remove one'):
        read_labels(voc)


@pytest.fixture
def abc(tmp_path):
    """Three images, called a, b and c."""
    for stem in 'abc':
        picture(tmp_path / f'JPEGImages/{stem}.jpg')
        label(tmp_path / f'Annotations/{stem}.xml', entry(stem, 1, 1, 9, 9))
    return tmp_path


def write_lists(root, **content):
    (root / 'ImageSets/Main').mkdir(parents=True, exist_ok=True)
    for name, text in content.items():
        (root / f'ImageSets/Main/{name}.txt').write_text(text)


def stems(labels):
    return {k: [i.path.stem for i in images] for k, images in labels.splits.items()}


@pytest.mark.parametrize(
    ('lists', 'expected'),
    [
        # VOC's own lists; one of a class's own, and images that are in no list, are passed over.
        ({'train': 'a\n', 'val': 'b\n\n', 'dog_train': 'c 1\n'}, {'train': 'a', 'val': 'b'}),
        ({'trainval': 'a\nb\n', 'test': 'c'}, {'train': 'ab', 'test': 'c'}),
        # What is scored on is not learnt from.
        ({'trainval': 'a\nb\n', 'val': 'b'}, {'train': 'a', 'val': 'b'}),
        # Beside train.txt, what it lists does not matter; it is train and val.
        ({'train': 'a', 'trainval': 'a\nx'}, {'train': 'a'}),
        (
            {'train': 'b', 'val': 'a', 'trainval': 'x', 'test': 'c'},
            {'train': 'b', 'val': 'a', 'test': 'c', 'trainval': 'ba'},
        ),
        # Class lists, quotes, and what is listed twice.
        ({'train': '"a"\nb -1\nc  1\na'}, {'train': 'abc'}),
        # No list for training, with and without an image that is in no list.
        ({'val': 'b', 'test': 'c'}, {'train': 'a', 'val': 'b', 'test': 'c'}),
        ({'test': 'a\nb\nc'}, {'test': 'abc'}),
        # No list.
        ({}, {'train': 'abc'}),
    ],
)
def test_splits_by_lists(abc, lists, expected):
    write_lists(abc, **lists)
    labels = read_labels(abc)
    assert stems(labels) == {name: list(letters) for name, letters in expected.items()}
    # All splits have all classes.
    assert labels.classes == ['a', 'b', 'c']
    rest = lists.keys() == {'val', 'test'}
    assert labels.remarks == ['without train.txt, train is whatever is in no list: 1 images'] * rest


def test_lists_that_are_empty(abc):
    write_lists(abc, train='a\nb', val='c', test='\n')
    labels = read_labels(abc)
    assert stems(labels) == {'train': ['a', 'b'], 'val': ['c']}
    assert labels.remarks == ['test has no image, left out']
    # Nothing to learn from: an empty list, and one that val's leaves nothing of.
    write_lists(abc, train='')
    with pytest.raises(ValueError, match=r'ImageSets/Main: train has no image; add some'):
        read_labels(abc)
    (abc / 'ImageSets/Main/train.txt').unlink()
    write_lists(abc, trainval='c')
    with pytest.raises(ValueError, match=r'ImageSets/Main: train has no image'):
        read_labels(abc)


def test_lists_of_paths_and_names_with_spaces(tmp_path):
    for name in ('c1/1', 'c2/1', 'c2/my cat', 'my'):
        picture(tmp_path / f'JPEGImages/{name}.jpg')
        label(tmp_path / f'Annotations/{name}.xml')
    write_lists(tmp_path, train='c1/1\nmy cat', val='Annotations/c2/1\nmy 1')
    found = read_labels(tmp_path).splits
    assert {
        split: [image.path.relative_to(tmp_path / 'JPEGImages').as_posix() for image in images]
        for split, images in found.items()
    } == {'train': ['c1/1.jpg', 'c2/my cat.jpg'], 'val': ['c2/1.jpg', 'my.jpg']}
    write_lists(tmp_path, train='my\n1')
    told = r'train.txt, line 2: 1 could be .*c1/1.xml or .*c2/1.xml; write its path'
    with pytest.raises(ValueError, match=told):
        read_labels(tmp_path)
    # One that is where the list begins is meant.
    picture(tmp_path / 'JPEGImages/1.jpg')
    label(tmp_path / 'Annotations/1.xml')
    (image,) = read_labels(tmp_path).splits['train'][1:]
    assert image.path == tmp_path / 'JPEGImages/1.jpg'


@pytest.mark.parametrize('depth', ['VOC2007', 'data/VOC2007'])
def test_the_folder_around(abc, depth):
    outer = abc / 'VOCdevkit'
    for name in ('JPEGImages', 'Annotations'):
        (outer / depth).mkdir(parents=True, exist_ok=True)
        (abc / name).rename(outer / depth / name)
    write_lists(outer / depth, train='a', test='b')
    told = rf'VOCdevkit has no ImageSets/Main, but .*{depth} has one; give that folder$'
    with pytest.raises(ValueError, match=told):
        read_labels(outer)
    write_lists(outer / 'x/VOC2012', train='')
    told = r'but .*VOC2007 and .*VOC2012 have one; give one of them$'
    with pytest.raises(ValueError, match=told):
        read_labels(outer)


def test_lists_further_in_that_are_no_splits(abc):
    # As CVAT writes them, and in a folder that is hidden.
    write_lists(abc / 'Annotations', default='a')
    write_lists(abc / '.old', train='a')
    assert stems(read_labels(abc)) == {'train': ['a', 'b', 'c']}


@pytest.mark.parametrize(
    ('pictures', 'files'),
    [
        ('{}', '{}'),
        # As an archive is unpacked.
        ('data/{}/images', 'data/{}/Annotations'),
        # Below the kinds of files.
        ('images/{}', 'Annotations/{}'),
        # Only images are apart.
        ('images/{}', 'Annotations'),
    ],
)
def test_splits_by_folders(tmp_path, pictures, files):
    for split in ('Train', 'valid', 'test'):
        picture(tmp_path / pictures.format(split) / f'{split}.jpg')
        label(tmp_path / files.format(split) / f'{split}.xml')
    labels = read_labels(tmp_path)
    assert stems(labels) == {'train': ['Train'], 'val': ['valid'], 'test': ['test']}


@pytest.mark.parametrize('name', ['test/train/a', 'train/a'])
def test_folders_of_two_splits(tmp_path, name):
    picture(tmp_path / 'test/train/a.jpg')
    label(tmp_path / f'{name}.xml')
    with pytest.raises(ValueError, match=r'a.xml and .*a.jpg are in .* test and train; rename'):
        read_labels(tmp_path)


def test_turned_images(voc):
    # Stored 40 x 30, shown 30 x 40, as which it is loaded.
    picture(voc / 'JPEGImages/a.jpg', turn=6)
    head = '<size><width>30</width><height>40</height></size>'
    label(voc / 'Annotations/a.xml', entry('dog', 1, 1, 30, 40), head=head)
    assert only_image(voc)[1].size == (30, 40)
    # Some tools write no size.
    zeros = '<size><width>0</width><height>0</height></size>'
    label(voc / 'Annotations/a.xml', entry('dog', 1, 1, 30, 40), head=zeros)
    assert only_image(voc)[1].size == (30, 40)


BOX = '<bndbox><xmin>1</xmin><ymin>2</ymin><xmax>{}</xmax><ymax>4</ymax></bndbox>'


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        ('<annotation>', 'a.xml is not XML: no element found: line 1'),
        ('<html/>', 'a.xml is not Pascal VOC: it begins with <html>, not <annotation>'),
        ('<object/>', 'a.xml: object 1 has no <name>, or an empty one'),
        ('<object><name> </name></object>', 'a.xml: object 1 has no <name>'),
        ('<object><name>b</name></object>', r'a.xml: object 1 \(b\) has no <bndbox>'),
        (
            f'<object><name>b</name>{BOX.format("x")}</object>',
            r"a.xml: object 1 \(b\): <xmax> is 'x', which is not a number",
        ),
        (
            f'<object><name>b</name>{BOX.format("inf")}</object>',
            "<xmax> is 'inf', which is not a number",
        ),
        (
            f'<object><name>b</name>{BOX.format("")}</object>',
            r'object 1 \(b\) has no <xmax>, or an empty one',
        ),
        (
            f'<object><name>b</name><difficult>so</difficult>{BOX.format(9)}</object>',
            "<difficult> is 'so', which is not a number",
        ),
        # Corners the wrong way round.
        (
            f'<object><name>b</name>{BOX.format("0")}</object>',
            r'a.xml: object 1 \(b\): the box x1, y1, x2, y2 = 0, 1, 0, 4 has no area within '
            'its image of 40 x 30',
        ),
        (
            '<size><width>30</width><height>40</height></size>',
            'a.xml: size is 30 x 40, but .*a.jpg is loaded as 40 x 30',
        ),
        # A size in words.
        ('<size><width>w</width><height>40</height></size>', "a.xml: size: <width> is 'w'"),
    ],
)
def test_mistakes_are_told(voc, content, message):
    text = content if content[:5] in ('<anno', '<html') else f'<annotation>{content}</annotation>'
    (voc / 'Annotations/a.xml').write_text(text)
    with pytest.raises(ValueError, match=message) as caught:
        read_labels(voc)
    assert '\n' not in str(caught.value)


def test_a_missing_image(voc):
    (voc / 'JPEGImages/a.jpg').rename(voc / 'JPEGImages/b.jpg')
    picture(voc / 'SegmentationClass/a.png')  # A mask is no photograph.
    with pytest.raises(ValueError, match=r'a.xml: there is no image called a, of .*.png, .*; add'):
        read_labels(voc)


def test_two_images_of_one_name(tmp_path):
    for name in ('a.jpg', 'a.png'):
        picture(tmp_path / name)
    label(tmp_path / 'a.xml')
    with pytest.raises(ValueError, match=r'a.xml: its image could be .*a.jpg or .*a.png; name it'):
        read_labels(tmp_path)


def test_an_image_that_is_none(voc):
    (voc / 'JPEGImages/a.jpg').write_bytes(b'no image')
    with pytest.raises(ValueError, match=r'a.jpg cannot be opened as an image'):
        read_labels(voc)


def test_a_list_of_what_is_not_there(voc):
    file = voc / 'ImageSets/Main/train.txt'
    file.parent.mkdir(parents=True)
    file.write_text('a\nb\n')
    with pytest.raises(ValueError, match=r'train.txt, line 2: there is no b.xml; write names'):
        read_labels(voc)
