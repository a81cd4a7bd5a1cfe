"""Random annotation files: those that are right pass, those with one fault are named."""

import copy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ssod.checks.classes import check_classes
from ssod.checks.coco import check_coco

# The same files in each run.
SAME = settings(derandomize=True, deadline=None, max_examples=60)

NAMES = ('cat', 'dog', 'cow', 'hen', 'ü', '名')
IDS = st.one_of(st.integers(0, 2**53), st.text(min_size=1, max_size=4))
NUMBERS = st.floats(0, 1, allow_nan=False)


@st.composite
def entries_with_ids(draw, least, most):
    ids = draw(st.lists(IDS, min_size=least, max_size=most, unique=True))
    return [{'id': i} for i in ids]


def split(length, start, stop):
    """A stretch within a side of an image, at least a pixel, from two random numbers."""
    first, last = sorted((start, stop))
    begin = min(length * first, length - 1)
    return begin, max(length * last - begin, 1)


@st.composite
def coco_files(draw):
    """A COCO JSON with nothing wrong, and the classes that it has."""
    classes = draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=4, unique=True))
    images = draw(entries_with_ids(1, 5))
    for place, image in enumerate(images):
        image['file_name'] = draw(st.sampled_from(['', 'sub/', '../'])) + f'{place}.jpg'
        image['width'], image['height'] = draw(st.tuples(*[st.integers(90, 9000)] * 2))
    categories = draw(entries_with_ids(len(classes), len(classes)))
    for category, name in zip(categories, classes, strict=True):
        category['name'] = name
    annotations = draw(entries_with_ids(1, 6))
    for annotation in annotations:
        image = draw(st.sampled_from(images))
        x, w = split(image['width'], *draw(st.tuples(NUMBERS, NUMBERS)))
        y, h = split(image['height'], *draw(st.tuples(NUMBERS, NUMBERS)))
        annotation.update(image_id=image['id'], bbox=[x, y, w, h], area=w * h)
        annotation['category_id'] = draw(st.sampled_from(categories))['id']
    return {'images': images, 'annotations': annotations, 'categories': categories}, classes


def errors(content, classes, file, role):
    found = check_coco(content, file, role)
    if not any(finding.severity == 'error' for finding in found):
        found += check_classes(content, classes, file, role)
    return [finding for finding in found if finding.severity == 'error']


@SAME
@given(coco_files(), st.sampled_from(['labeled', 'unlabeled', 'val', 'test']))
def test_a_right_file_has_no_errors(file, role):
    content, classes = file
    before = copy.deepcopy(content)
    assert errors(content, classes, 'a.json', role) == []
    # It was only looked at.
    assert content == before


def lack_list(draw, content):
    del content[draw(st.sampled_from(sorted(content)))]


def no_list(draw, content):
    content[draw(st.sampled_from(sorted(content)))] = draw(st.sampled_from([None, {}, 'x', 3]))


def no_object(draw, content):
    part = content[draw(st.sampled_from(sorted(content)))]
    part.insert(draw(st.integers(0, len(part))), draw(st.sampled_from([None, 1, 'x', []])))


def lack_field(draw, content):
    entry = draw(st.sampled_from(content[draw(st.sampled_from(sorted(content)))]))
    del entry[draw(st.sampled_from(sorted(entry)))]


def wrong_kind(draw, content):
    entry = draw(st.sampled_from(content[draw(st.sampled_from(sorted(content)))]))
    field = draw(st.sampled_from(sorted(entry)))
    entry[field] = draw(st.sampled_from([None, True, {}, [], 0.5 if field[-2:] == 'id' else {}]))


def same_id(draw, content):
    part = content[draw(st.sampled_from(sorted(content)))]
    part.append(copy.deepcopy(draw(st.sampled_from(part))))


def unknown_id(draw, content):
    annotation = draw(st.sampled_from(content['annotations']))
    field, part = draw(st.sampled_from([('image_id', 'images'), ('category_id', 'categories')]))
    known = [entry['id'] for entry in content[part]]
    annotation[field] = draw(IDS.filter(lambda i: i not in known))


def no_images(draw, content):
    content['images'] = []


def no_annotations(draw, content):
    content['annotations'] = []


def no_size(draw, content):
    image = draw(st.sampled_from(content['images']))
    side = draw(st.sampled_from(['width', 'height']))
    image[side] = draw(st.sampled_from([0, -1, float('nan'), float('inf')]))


def bad_box(draw, content):
    box = draw(st.sampled_from(content['annotations']))['bbox']
    place = draw(st.integers(0, 3))
    odd = ['1', None, float('nan'), float('inf'), float('-inf')]
    box[place] = draw(st.sampled_from(odd + ([-1e-3, -5] if place > 1 else [])))


def wrong_length(draw, content):
    annotation = draw(st.sampled_from(content['annotations']))
    annotation['bbox'] = [*annotation['bbox'], 0.5][: draw(st.sampled_from([0, 1, 2, 3, 5]))]


def empty_box(draw, content):
    annotation = draw(st.sampled_from(content['annotations']))
    side = draw(st.sampled_from([2, 3, None]))
    if side is None:
        annotation['area'] = draw(st.sampled_from([0, -1.5]))
    else:
        annotation['bbox'][side] = 0


def outside(draw, content):
    annotation = draw(st.sampled_from(content['annotations']))
    (image,) = (i for i in content['images'] if i['id'] == annotation['image_id'])
    axis, beyond = draw(st.integers(0, 1)), draw(st.booleans())
    side = image[('width', 'height')[axis]]
    annotation['bbox'][axis] = side if beyond else -annotation['bbox'][2 + axis]


def other_name(draw, content):
    category = draw(st.sampled_from(content['categories']))
    category['name'] = draw(st.sampled_from([category['name'].upper() + '_', 'x', ' ']))


def same_name(draw, content):
    ids = [category['id'] for category in content['categories']]
    other = draw(st.sampled_from(content['categories']))
    new = draw(IDS.filter(lambda i: i not in ids))
    content['categories'].append({**other, 'id': new})


FAULTS = [
    lack_list,
    no_list,
    no_object,
    lack_field,
    wrong_kind,
    same_id,
    unknown_id,
    no_images,
    no_annotations,
    no_size,
    bad_box,
    wrong_length,
    empty_box,
    outside,
    other_name,
    same_name,
]
# What nobody looks at in unlabelled images.
OF_LABELS = {unknown_id, no_annotations, bad_box, empty_box, outside, other_name, lack_list}


@pytest.mark.parametrize('fault', FAULTS, ids=lambda fault: fault.__name__)
@settings(SAME, max_examples=25)
@given(data=st.data(), role=st.sampled_from(['labeled', 'val']))
def test_a_fault_is_an_error_of_its_file(fault, data, role):
    content, classes = data.draw(coco_files())
    fault(data.draw, content)
    found = errors(content, classes, f'{role}.json', role)
    assert found
    assert {finding.file for finding in found} == {f'{role}.json'}
    for finding in found:
        assert str(finding).isprintable()
        assert finding.count >= 1


@pytest.mark.parametrize(
    'fault', [f for f in FAULTS if f not in OF_LABELS], ids=lambda f: f.__name__
)
@settings(SAME, max_examples=15)
@given(data=st.data())
def test_a_fault_in_a_file_of_unlabelled_images(fault, data):
    content, classes = data.draw(coco_files())
    fault(data.draw, content)
    assert errors(content, classes, 'a.json', 'unlabeled')


@SAME
@given(coco_files(), st.randoms(use_true_random=False))
def test_classes_in_another_order(file, random):
    content, classes = file
    order = list(classes)
    random.shuffle(order)
    found = errors(content, order, 'a.json', 'labeled')
    assert bool(found) == (order != list(classes))
