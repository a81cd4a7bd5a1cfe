"""Annotation files that are wrong, and the line that each gets in ``test_bad_input.py``."""

from .conftest import both, put, write

NAN, INF = float('nan'), float('inf')


def drop(part, place, field):
    """Remove a field of an entry of the labelled annotation file."""
    return lambda w: w.labeled[part][place].pop(field)


def boxed(*box):
    """A box of the first labelled image, which is 40 x 30."""
    return put('annotations', 0, bbox=list(box))


def every(part, **fields):
    def damage(w):
        for entry in w.labeled[part]:
            entry.update(fields)

    return damage


def categories(name, *names):
    """Categories of an annotation file, with ids from 1."""

    def damage(w):
        getattr(w, name)['categories'] = [{'id': i + 1, 'name': n} for i, n in enumerate(names)]

    return damage


def many_boxes(count, faulty, bad):
    """More annotations, some of them with a bad box."""

    def damage(w):
        first = w.labeled['annotations'][0]
        for i in range(count):
            box = bad if i < faulty else [4, 6, 8, 12]
            w.labeled['annotations'].append({**first, 'id': 4 + i, 'bbox': box})

    return damage


# fmt: off
BAD_ANNOTATIONS = [
    # --- No annotation file, or none that is read.
    (lambda w: setattr(w, 'labeled', None), 'json',
     'error: labeled.json: does not exist; correct train_dataloader.dataset.datasets[0].ann_file,'),
    (write('labeled.json', b''), 'json',
     'error: labeled.json: is not JSON: Expecting value: line 1 column 1 (char 0); '
     'get or write it'),
    (write('labeled.json', b'{"images": ['), 'json',
     'error: labeled.json: is not JSON: Expecting value: line 1 column 13 (char 12); get or write'),
    # mmdet reads UTF-8 without a mark at its begin, and nothing else.
    (write('labeled.json', b'\xef\xbb\xbf{}'), 'json',
     'error: labeled.json: begins with a byte order mark; save it as UTF-8 without one'),
    (write('labeled.json', '{"a": "ü"}'.encode('latin1')), 'json',
     "error: labeled.json: is not JSON: 'utf-8' codec can't decode byte 0xfc in position 7:"),
    # Python's own reader gives up; it must not look like a bug.
    (write('labeled.json', b'[' * 100_000), 'json',
     'error: labeled.json: is not JSON: '),
    # --- JSON, but not COCO's.
    (write('labeled.json', b'[]'), 'json',
     'error: labeled.json: is not a COCO JSON: it holds a list instead of an object; write it as'),
    (write('labeled.json', b'null'), 'json',
     'error: labeled.json: is not a COCO JSON: it holds null instead of an object; write it as'),
    (lambda w: w.labeled.pop('images'), 'json',
     "error: labeled.json: is not a COCO JSON: it has no list 'images'; write it as"),
    (lambda w: w.labeled.pop('annotations'), 'json',
     "error: labeled.json: is not a COCO JSON: it has no list 'annotations'; write it as"),
    (lambda w: w.labeled.pop('categories'), 'json',
     "error: labeled.json: is not a COCO JSON: it has no list 'categories'; add them (tools/split"),
    # COCO's own unlabelled files have none, and mmdet crashes.
    (lambda w: w.unlabeled.pop('categories'), 'json',
     "error: unlabeled.json: is not a COCO JSON: it has no list 'categories'; add them"
     " (tools/split"),
    (lambda w: w.labeled.update(images={}), 'json',
     "error: labeled.json: is not a COCO JSON: 'images' is an object instead of a list; write it"
     " as"),
    (lambda w: w.labeled.update(annotations=None), 'json',
     "error: labeled.json: is not a COCO JSON: 'annotations' is null instead of a list; write it"
     " as"),
    (lambda w: w.labeled['images'].append(7), 'json',
     'error: labeled.json: images[3] is a number; images must be a list of objects'),
    (lambda w: w.labeled['annotations'].append([1]), 'json',
     'error: labeled.json: annotations[3] is a list; annotations must be a list of objects'),
    (lambda w: w.labeled.update(images=[]), 'json',
     'error: labeled.json: has no images; add some, or give another file'),
    # --- Fields of an image.
    (drop('images', 1, 'id'), 'json',
     "error: labeled.json: images[1] has no 'id'; it must be a whole number or text"),
    (drop('images', 1, 'file_name'), 'json',
     "error: labeled.json: images[1] (id 2) has no 'file_name'; it must be the name of a file"),
    (drop('images', 1, 'width'), 'json',
     "error: labeled.json: images[1] (id 2) has no 'width'; it must be a number of pixels above 0"),
    (drop('images', 1, 'height'), 'json',
     "error: labeled.json: images[1] (id 2) has no 'height'; it must be a number of pixels above"),
    (put('images', 1, width='40'), 'json',
     "error: labeled.json: 'width' of images[1] (id 2) is '40'; it must be a number of pixels"),
    (put('images', 1, width=0), 'json',
     "error: labeled.json: 'width' of images[1] (id 2) is 0; it must be a number of pixels above"),
    (put('images', 1, height=-30), 'json',
     "error: labeled.json: 'height' of images[1] (id 2) is -30; it must be a number of pixels"),
    (put('images', 1, width=INF), 'json',
     "error: labeled.json: 'width' of images[1] (id 2) is inf; it must be a number of pixels"),
    (put('images', 1, height=NAN), 'json',
     "error: labeled.json: 'height' of images[1] (id 2) is nan; it must be a number of pixels"),
    (put('images', 1, file_name=''), 'json',
     "error: labeled.json: 'file_name' of images[1] (id 2) is ''; it must be the name of a file"),
    # No system has files of such names.
    (put('images', 1, file_name='a\0.png'), 'json',
     "error: labeled.json: 'file_name' of images[1] (id 2) is 'a\\x00.png'; it must be the name"),
    (put('images', 1, file_name='\ud83d.png'), 'json',
     "error: labeled.json: 'file_name' of images[1] (id 2) is '\\ud83d.png'; it must be the name"
     ' of a file, in UTF-8'),
    (put('images', 1, id=[1]), 'json',
     "error: labeled.json: 'id' of images[1] is [1]; it must be a whole number or text"),
    # No file is loaded in these sizes.
    (put('images', 1, width=40.5), 'json',
     'error: labeled.json: images[1] (id 2) is 40.5 x 30, not a whole number of pixels; correct'),
    (put('images', 1, width=10_000, height=10_000), 'json',
     'error: labeled.json: images[1] (id 2) is 10000 x 10000, more than 89,478,485 pixels; cut it'),
    (put('images', 1, width=3001), 'json',
     'error: labeled.json: images[1] (id 2) is 3001 x 30, too thin to be made smaller; cut it, or'),
    (lambda w: w.val['images'][1].update(height=4001), 'json',
     'error: val.json: images[1] (id 2) is 40 x 4001, too thin to be made smaller; cut it, or'),
    # Training skips one of many.
    (lambda w: w.unlabeled['images'][1].update(height=4001), 'json',
     'warning: unlabeled.json: images[1] (id 2) is 40 x 4001, too thin to be made smaller; cut'),
    (lambda w: [i.update(height=4001) for i in w.unlabeled['images']], 'json',
     'error: unlabeled.json: images[0] (id 1) is 40 x 4001, too thin to be made smaller (and 3'),
    # In Python, true is 1.
    (put('images', 1, id=True), 'json',
     "error: labeled.json: 'id' of images[1] is True; it must be a whole number or text"),
    # --- Fields of an annotation.
    (drop('annotations', 0, 'id'), 'json',
     "error: labeled.json: annotations[0] has no 'id'; it must be a whole number or text"),
    (drop('annotations', 0, 'image_id'), 'json',
     "error: labeled.json: annotations[0] (id 1) has no 'image_id'; it must be the id of an image"),
    (drop('annotations', 0, 'category_id'), 'json',
     "error: labeled.json: annotations[0] (id 1) has no 'category_id'; it must be the id of a"),
    (drop('annotations', 0, 'bbox'), 'json',
     "error: labeled.json: annotations[0] (id 1) has no 'bbox'; it must be four numbers: x, y,"),
    (drop('annotations', 0, 'area'), 'json',
     "error: labeled.json: annotations[0] (id 1) has no 'area'; it must be a number of square"),
    # Many at once are one line.
    (every('annotations', bbox=None), 'json',
     "error: labeled.json: 'bbox' of annotations[0] (id 1) is None (and 2 more); it must be four"),
    # --- Boxes.
    (boxed(4, 6, 8), 'json', "error: labeled.json: 'bbox' of annotations[0] (id 1) is [4, 6, 8];"),
    (boxed(4, 6, 8, 12, 0.9), 'json',
     "error: labeled.json: 'bbox' of annotations[0] (id 1) is [4, 6, 8, 12, 0.9]; it must be four"),
    (boxed('4', '6', '8', '12'), 'json',
     "error: labeled.json: 'bbox' of annotations[0] (id 1) is ['4', '6', '8', '12']; it must be"),
    (boxed(4, None, 8, 12), 'json',
     "error: labeled.json: 'bbox' of annotations[0] (id 1) is [4, None, 8, 12]; it must be four"),
    (boxed(4, NAN, 8, 12), 'json',
     "error: labeled.json: 'bbox' of annotations[0] (id 1) or its area is not finite: [4, nan, 8,"),
    (boxed(4, 6, INF, 12), 'json',
     "error: labeled.json: 'bbox' of annotations[0] (id 1) or its area is not finite: [4, 6, inf,"),
    (put('annotations', 0, area=NAN), 'json',
     "error: labeled.json: 'bbox' of annotations[0] (id 1) or its area is not finite: [4, 6, 8,"),
    # The lower right corner first.
    (boxed(12, 18, -8, -12), 'json',
     "error: labeled.json: 'bbox' of annotations[0] (id 1) has a negative width or height: [12,"),
    (boxed(4, 6, 8, -12), 'json',
     "error: labeled.json: 'bbox' of annotations[0] (id 1) has a negative width or height: [4, 6,"),
    (boxed(4, 6, 0, 12), 'json',
     "error: labeled.json: 'bbox' of annotations[0] (id 1) has no area, or its 'area' is not"
     " above 0:"),
    (boxed(4, 6, 8, 0), 'json',
     "error: labeled.json: 'bbox' of annotations[0] (id 1) has no area, or its 'area' is not"
     " above 0:"),
    # mmdet goes by it and leaves the box out without a word.
    (put('annotations', 0, area=0), 'json',
     "error: labeled.json: 'bbox' of annotations[0] (id 1) has no area, or its 'area' is not"
     " above 0:"),
    # Two of COCO's own boxes have no height: so few are no reason not to train.
    (many_boxes(2000, 2, [4, 6, 8, 0]), 'json',
     "warning: labeled.json: 'bbox' of annotations[3] (id 4) has no area, or its 'area' is not"
     " above 0:"),
    # Nor is a slip of who drew them.
    (many_boxes(2000, 2, [40, 6, 8, 12]), 'json',
     "warning: labeled.json: 'bbox' of annotations[3] (id 4) lies outside its image of 40 x 30:"
     ' [40, 6, 8, 12] (and 1 more); mmdet skips it; correct or remove it'),
    (many_boxes(2000, 3, [40, 6, 8, 12]), 'json',
     "error: labeled.json: 'bbox' of annotations[3] (id 4) lies outside its image of 40 x 30:"),
    (boxed(40, 6, 8, 12), 'json',
     "error: labeled.json: 'bbox' of annotations[0] (id 1) lies outside its image of 40 x 30:"),
    (boxed(-8, 6, 8, 12), 'json',
     "error: labeled.json: 'bbox' of annotations[0] (id 1) lies outside its image of 40 x 30:"),
    (boxed(4, 300, 8, 12), 'json',
     "error: labeled.json: 'bbox' of annotations[0] (id 1) lies outside its image of 40 x 30:"),
    # Two corners instead of a corner and a size.
    (boxed(20, 10, 36, 28), 'json',
     "warning: labeled.json: 'bbox' of annotations[0] (id 1) extends beyond its image of 40 x 30:"
     " [20,"),
    (boxed(-1.1, 6, 8, 12), 'json',
     "warning: labeled.json: 'bbox' of annotations[0] (id 1) extends beyond its image of 40 x 30:"
     " [-1.1,"),
    (boxed(4, 6, 0.5, 12), 'json',
     "warning: labeled.json: 'bbox' of annotations[0] (id 1) is less than a pixel wide or high:"),
    # Shares of the image in the place of pixels.
    (every('annotations', bbox=[0.1, 0.2, 0.2, 0.4]), 'json',
     "error: labeled.json: 'bbox' of annotations[0] (id 1) is less than a pixel wide or high: [0.1,"
     ' 0.2, 0.2, 0.4] (and 2 more); boxes must be in pixels, not shares of the image: multiply'),
    # One object twice.
    (put('annotations', 1, image_id=1, category_id=1), 'json',
     'warning: labeled.json: annotations[1] (id 2) has the image, category and bbox of'),
    (lambda w: w.val['annotations'].extend({**w.val['annotations'][0], 'id': i} for i in (8, 9)),
     'json', 'warning: val.json: annotations[2] (id 8) has the image, category and bbox of'
     ' annotations[0] (id 1) (and 1 more); remove one of them'),
    # What a detector is not sure of.
    (put('annotations', 1, score=0.4), 'json',
     'warning: labeled.json: annotations[1] (id 2) has the score 0.4; it counts as certain:'),
    # --- Ids.
    (put('annotations', 2, image_id=9), 'json',
     'error: labeled.json: annotations[2] (id 3) is of image 9, which does not exist; add the'),
    (put('annotations', 2, category_id=9), 'json',
     'error: labeled.json: annotations[2] (id 3) is of category 9, which does not exist; add the'),
    (put('annotations', 2, image_id='3'), 'json',
     "error: labeled.json: annotations[2] (id 3) is of image '3', which does not exist; write all"
     " ids"),
    (put('images', 1, id=1), 'json',
     'error: labeled.json: 2 images have the id 1; give each its own id'),
    (put('annotations', 1, id=1), 'json',
     'error: labeled.json: 2 annotations have the id 1; give each its own id'),
    (put('categories', 1, id=1), 'json',
     'error: labeled.json: 2 categories have the id 1; give each its own id'),
    (put('categories', 1, name='dog\n'), 'json',
     "error: labeled.json: 'name' of categories[1] (id 2) is 'dog\\n'; it must be a name on"
     " one"),
    (put('categories', 1, name='cat'), 'json',
     "error: labeled.json: 2 categories have the name 'cat'; give each its own name"),
    # Each shows a part of the boxes of one image.
    (put('images', 1, file_name='0.png'), 'json',
     "error: labeled.json: 2 images have the file_name '0.png' and different boxes; objects of"),
    (lambda w: w.unlabeled['images'][1].update(file_name='0.png'), 'json',
     "warning: unlabeled.json: 2 images have the file_name '0.png'; keep one of each, unless it"),
    # --- Categories and classes.
    (categories('labeled'), 'json', 'error: labeled.json: annotations[0] (id 1) is of category 1,'),
    (categories('labeled', 'horse', 'cow'), 'json',
     'error: labeled.json: none of its categories (horse, cow) is among the classes (cat, dog);'),
    (categories('labeled', 'Cat', 'Dog'), 'json',
     'error: labeled.json: none of its categories (Cat, Dog) is among the classes (cat, dog); set'),
    # COCO's names, because the config names none.
    (lambda w: w.sources[0].pop('metainfo'), 'json',
     "error: labeled.json: has no category for the class 'person' (and 77 more); set"),
    (categories('labeled', 'cat', 'dgo'), 'json',
     "error: labeled.json: has no category for the class 'dog'; set metainfo=dict(classes=(...))"),
    # mmdet numbers classes as they come in the file: dogs would be scored as cats.
    (categories('val', 'dog', 'cat'), 'json',
     'error: val.json: has the categories in the order dog, cat, but the classes are cat, dog;'
     ' mmdet uses'),
    (categories('val', 'cat', 'cow'), 'json',
     "error: val.json: has no category for the class 'dog'; set metainfo=dict(classes=(...)) of"),
    (categories('unlabeled', 'cat'), 'json',
     'warning: unlabeled.json: has the categories cat, but the classes are cat, dog; they are not'
     ' used'),
    (both(categories('labeled', 'cat', 'dog', 'cow'), put('annotations', 2, category_id=3)), 'json',
     'warning: labeled.json: 1 annotations have a category that is not a class: cow; they are'
     ' ignored; to learn'),
    (every('annotations', category_id=1), 'json',
     "warning: labeled.json: has no annotation of the class 'dog'; the detector cannot learn it"),
    # --- Annotations where there should be some, or none.
    (lambda w: w.labeled.update(annotations=[]), 'json',
     'error: labeled.json: has no annotations; label some of its images, or give another file'),
    (lambda w: w.val.update(annotations=[]), 'json',
     'error: val.json: has no annotations; label some of its images, or give another file'),
    (lambda w: w.val['annotations'][1].pop('iscrowd'), 'json',
     "warning: val.json: annotations[1] (id 2) has no 'iscrowd'; write 0, or score with Fast"),
    (lambda w: w.val['annotations'][1].update(ignore=1), 'json',
     "warning: val.json: annotations[1] (id 2) has only 'ignore'; COCO's scores count it; set"),
    # A text is true, whatever it says.
    (put('annotations', 0, iscrowd='0'), 'json',
     "error: labeled.json: 'iscrowd' of annotations[0] (id 1) is '0'; it must be 0 or 1, a number"),
    (put('annotations', 0, ignore=2), 'json',
     "error: labeled.json: 'ignore' of annotations[0] (id 1) is 2; it must be 0 or 1, a number"),
    # Nothing to learn from.
    (lambda w: [a.update(iscrowd=1) for a in w.labeled['annotations']], 'json',
     'error: labeled.json: has only crowd or ignored annotations; label some of its images, or'),
    (lambda w: [a.update(ignore=1) for a in w.val['annotations']], 'json',
     'error: val.json: has only crowd or ignored annotations; label some of its images, or'),
    (lambda w: w.val['annotations'][0].update(id=0), 'json',
     'warning: val.json: annotations[0] (id 0) never counts as found in CocoMetric; number'),
    (lambda w: w.unlabeled.update(annotations=w.labeled['annotations']), 'json',
     'warning: unlabeled.json: is unlabelled, but has 3 annotations, which are ignored; remove'
     ' them'),
]
# fmt: on
