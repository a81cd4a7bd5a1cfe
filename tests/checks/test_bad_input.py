"""Bad input, and the one line that each gets: before training where it can be known."""

import io
import json
import os
import struct
import zlib
from types import SimpleNamespace

import numpy as np
import pytest
from mmdet.registry import DATA_SAMPLERS, DATASETS, TRANSFORMS
from mmengine.runner import BaseLoop
from PIL import Image
from torch import nn

from ssod.checks import before_run
from ssod.checks.before_run import check_data_of
from ssod.checks.settings import check_settings_of
from ssod.errors import errors_in_one_line
from ssod.models.pretrained import PretrainedDetectorHook

NAN, INF = float('nan'), float('inf')


def put(part, place, **fields):
    """Set fields of an entry of the labelled annotation file."""
    return lambda w: w.labeled[part][place].update(fields)


def drop(part, place, field):
    """Remove a field of an entry of the labelled annotation file."""
    return lambda w: w.labeled[part][place].pop(field)


def write(name, content):
    """Write a file before the world does."""
    return lambda w: (w.root / name).write_bytes(content)


def boxed(*box):
    """A box of the first labelled image, which is 40 x 30."""
    return put('annotations', 0, bbox=list(box))


def every(part, **fields):
    def damage(w):
        for entry in w.labeled[part]:
            entry.update(fields)

    return damage


def setting(where, value):
    return lambda w: w.cfg.merge_from_dict({where: value})


def categories(name, *names):
    """Categories of an annotation file, with ids from 1."""

    def damage(w):
        getattr(w, name)['categories'] = [{'id': i + 1, 'name': n} for i, n in enumerate(names)]

    return damage


def both(*damages):
    def damage(w):
        for one in damages:
            one(w)

    return damage


def bmp_header(width, height):
    """An image of Windows that says it is this large."""
    content = encode('BMP')
    return content[:18] + struct.pack('<ii', width, height) + content[26:]


def png_header(width, height):
    """A PNG of a hundred bytes that claims to be of any size."""

    def chunk(kind, data):
        return (
            struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))
        )

    return (
        b'\x89PNG\r\n\x1a\n'
        + chunk(b'IHDR', struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0))
        + chunk(b'IDAT', zlib.compress(bytes(100)))
        + chunk(b'IEND', b'')
    )


def encode(kind, mode='RGB', size=(40, 30), **options):
    pixels = np.random.default_rng(7).integers(0, 256, (size[1], size[0], 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(file, kind, **options)
    return file.getvalue()


def image(content, name='labeled/0.png'):
    """Another content for an image; OpenCV goes by it and not by the name."""
    return lambda w: (w.root / name).write_bytes(content() if callable(content) else content)


def half(kind):
    content = encode(kind)
    return content[: len(content) // 2]


def turned():
    exif = Image.Exif()
    exif[0x112] = 6
    return encode('JPEG', exif=exif)


def upside_down():
    exif = Image.Exif()
    exif[0x112] = 3
    return encode('JPEG', exif=exif)


def deep(kind):
    pixels = np.full((30, 40), 0x1234, np.uint16)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def scrambled():
    content = bytearray(encode('PNG'))
    content[len(content) // 2] ^= 255
    return bytes(content)


def floats():
    file = io.BytesIO()
    Image.fromarray(np.full((30, 40), 0.5, np.float32)).save(file, 'TIFF')
    return file.getvalue()


def many_boxes(count, empty):
    """More annotations, some of them without height."""

    def damage(w):
        first = w.labeled['annotations'][0]
        for i in range(count):
            box = [4, 6, 8, 0 if i < empty else 12]
            w.labeled['annotations'].append({**first, 'id': 4 + i, 'bbox': box})

    return damage


def link(name, target):
    return lambda w: (w.root / name).symlink_to(w.root / target)


def folder(*damages):
    """Unlabelled images from a folder, which is damaged."""
    return both(lambda w: w.use_folder(), *damages)


def emptied(w):
    for path in (w.root / 'unlabeled').iterdir():
        path.unlink()


def forbid(name):
    """A folder that may not be looked into; an administrator, as in a container, always may."""

    def damage(w):
        (w.root / name).mkdir(exist_ok=True)
        w.forbidden.append(str(w.root / name))

    return damage


def copy(source, target):
    return lambda w: (w.root / target).write_bytes((w.root / source).read_bytes())


def other_ids(w):
    """Score against a file that has other images."""
    w.val['images'][1]['id'] = w.val['annotations'][1]['image_id'] = 7
    w.cfg.val_evaluator.ann_file = str(w.root / 'labeled.json')


def other_order(w):
    """Score against a file in which dogs come first."""
    content = {**w.val, 'categories': w.val['categories'][::-1]}
    (w.root / 'scored.json').write_text(json.dumps(content))
    w.cfg.val_evaluator.ann_file = str(w.root / 'scored.json')


def build(registry, **cfg):
    return lambda w: registry.build(cfg)


def sampler(ratio, batch_size):
    def build(w):
        sources = SimpleNamespace(cumulative_sizes=[3, 7])
        cfg = dict(type='SourceRatioSampler', source_ratio=ratio, seed=0, dataset=sources)
        DATA_SAMPLERS.build(cfg).check_batch_size(batch_size)

    return build


class Loop(BaseLoop):
    """The loop of a run whose data have cats and dogs."""

    def __init__(self):
        dataset = SimpleNamespace(metainfo={'classes': ('cat', 'dog')})
        self._dataloader = SimpleNamespace(dataset=dataset)

    @property
    def dataloader(self):
        return self._dataloader

    def run(self):
        raise NotImplementedError


class Detector(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Linear(1, 1)
        self.bbox_head = nn.ModuleDict({'fc_cls': nn.Linear(1, 3)})


def load(classes, kind=Detector, resume=False):
    """Load the checkpoint of another run into student and teacher of cats and dogs."""

    def damage(w):
        pair = nn.ModuleDict({'student': Detector(), 'teacher': Detector()})
        other = nn.ModuleDict({'student': kind(), 'teacher': kind()})
        loop = 'train' if resume else 'test'
        run = SimpleNamespace(model=pair, _resume=resume, **{f'_{loop}_loop': Loop()})
        meta = {'dataset_meta': {'classes': classes}}
        checkpoint = {'state_dict': other.state_dict(), 'meta': meta}
        PretrainedDetectorHook().after_load_checkpoint(run, checkpoint)

    return damage


# A line begins like this; paths are given from the folder of the data.
# `json`: told before training, and by tools/check_data.py. `image`: told by the latter, for
# nothing else opens images beforehand. `build`: told when the run is put together.
# fmt: off
TABLE = [
    # --- No annotation file, or none that is read.
    (lambda w: setattr(w, 'labeled', None), 'json',
     'error: labeled.json: does not exist; correct train_dataloader.dataset.datasets[0].ann_file,'),
    (write('labeled.json', b''), 'json',
     'error: labeled.json: is no JSON: Expecting value: line 1 column 1 (char 0); get or write it'),
    (write('labeled.json', b'{"images": ['), 'json',
     'error: labeled.json: is no JSON: Expecting value: line 1 column 13 (char 12); get or write'),
    # mmdet reads UTF-8 without a mark at its begin, and nothing else.
    (write('labeled.json', b'\xef\xbb\xbf{}'), 'json',
     'error: labeled.json: is no JSON: Unexpected UTF-8 BOM (decode using utf-8-sig): line 1'),
    (write('labeled.json', '{"a": "ü"}'.encode('latin1')), 'json',
     "error: labeled.json: is no JSON: 'utf-8' codec can't decode byte 0xfc in position 7:"),
    # Python's own reader gives up; it must not look like a bug.
    (write('labeled.json', b'[' * 100_000), 'json',
     'error: labeled.json: is no JSON: '),
    # --- JSON, but not COCO's.
    (write('labeled.json', b'[]'), 'json',
     'error: labeled.json: is no COCO JSON: it holds a list instead of an object; write it as'),
    (write('labeled.json', b'null'), 'json',
     'error: labeled.json: is no COCO JSON: it holds null instead of an object; write it as'),
    (lambda w: w.labeled.pop('images'), 'json',
     "error: labeled.json: is no COCO JSON: it has no list 'images'; write it as"),
    (lambda w: w.labeled.pop('annotations'), 'json',
     "error: labeled.json: is no COCO JSON: it has no list 'annotations'; write it as"),
    (lambda w: w.labeled.pop('categories'), 'json',
     "error: labeled.json: is no COCO JSON: it has no list 'categories'; give it those of the"),
    # COCO's own unlabelled files have none, and mmdet crashes.
    (lambda w: w.unlabeled.pop('categories'), 'json',
     "error: unlabeled.json: is no COCO JSON: it has no list 'categories'; give it those of the"),
    (lambda w: w.labeled.update(images={}), 'json',
     "error: labeled.json: is no COCO JSON: 'images' is an object instead of a list; write it as"),
    (lambda w: w.labeled.update(annotations=None), 'json',
     "error: labeled.json: is no COCO JSON: 'annotations' is null instead of a list; write it as"),
    (lambda w: w.labeled['images'].append(7), 'json',
     'error: labeled.json: images[3] is a number; images must be a list of objects'),
    (lambda w: w.labeled['annotations'].append([1]), 'json',
     'error: labeled.json: annotations[3] is a list; annotations must be a list of objects'),
    (lambda w: w.labeled.update(images=[]), 'json',
     'error: labeled.json: has no images; fill it, or give another file'),
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
     "error: labeled.json: 'file_name' of images[1] (id 2) is '\\ud83d.png'; it must be the name"),
    (put('images', 1, id=[1]), 'json',
     "error: labeled.json: 'id' of images[1] is [1]; it must be a whole number or text"),
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
     "error: labeled.json: 'bbox' of annotations[0] (id 1) has no area, or its 'area' says so:"),
    (boxed(4, 6, 8, 0), 'json',
     "error: labeled.json: 'bbox' of annotations[0] (id 1) has no area, or its 'area' says so:"),
    # mmdet goes by it and leaves the box out without a word.
    (put('annotations', 0, area=0), 'json',
     "error: labeled.json: 'bbox' of annotations[0] (id 1) has no area, or its 'area' says so:"),
    # Two of COCO's own boxes have no height: so few are no reason not to train.
    (many_boxes(2000, empty=2), 'json',
     "warning: labeled.json: 'bbox' of annotations[3] (id 4) has no area, or its 'area' says so:"),
    (boxed(40, 6, 8, 12), 'json',
     "error: labeled.json: 'bbox' of annotations[0] (id 1) lies outside of its image of 40 x 30:"),
    (boxed(-8, 6, 8, 12), 'json',
     "error: labeled.json: 'bbox' of annotations[0] (id 1) lies outside of its image of 40 x 30:"),
    (boxed(4, 300, 8, 12), 'json',
     "error: labeled.json: 'bbox' of annotations[0] (id 1) lies outside of its image of 40 x 30:"),
    # Two corners instead of a corner and a size.
    (boxed(20, 10, 36, 28), 'json',
     "warning: labeled.json: 'bbox' of annotations[0] (id 1) leaves its image of 40 x 30: [20,"),
    (boxed(-1.1, 6, 8, 12), 'json',
     "warning: labeled.json: 'bbox' of annotations[0] (id 1) leaves its image of 40 x 30: [-1.1,"),
    (boxed(4, 6, 0.5, 12), 'json',
     "warning: labeled.json: 'bbox' of annotations[0] (id 1) is less than a pixel wide or high:"),
    # Shares of the image in the place of pixels.
    (every('annotations', bbox=[0.1, 0.2, 0.2, 0.4]), 'json',
     "error: labeled.json: 'bbox' of annotations[0] (id 1) is less than a pixel wide or high: [0.1,"
     ' 0.2, 0.2, 0.4] (and 2 more); boxes are in pixels, not in shares of the image: multiply'),
    # --- Ids.
    (put('annotations', 2, image_id=9), 'json',
     'error: labeled.json: annotations[2] (id 3) is of image 9, which is not there; add the'),
    (put('annotations', 2, category_id=9), 'json',
     'error: labeled.json: annotations[2] (id 3) is of category 9, which is not there; add the'),
    (put('annotations', 2, image_id='3'), 'json',
     "error: labeled.json: annotations[2] (id 3) is of image '3', which is not there; write ids"),
    (put('images', 1, id=1), 'json',
     'error: labeled.json: 2 images have the id 1; give each a id of its own'),
    (put('annotations', 1, id=1), 'json',
     'error: labeled.json: 2 annotations have the id 1; give each a id of its own'),
    (put('categories', 1, id=1), 'json',
     'error: labeled.json: 2 categories have the id 1; give each a id of its own'),
    (put('categories', 1, name='cat'), 'json',
     "error: labeled.json: 2 categories have the name 'cat'; give each a name of its own"),
    # Each shows a part of the boxes of one image.
    (put('images', 1, file_name='0.png'), 'json',
     "error: labeled.json: 2 images have the file_name '0.png' and different boxes; objects of"),
    (lambda w: w.unlabeled['images'][1].update(file_name='0.png'), 'json',
     "warning: unlabeled.json: 2 images have the file_name '0.png'; leave each in once, unless it"),
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
     'error: val.json: its categories come as dog, cat, but the classes as cat, dog; mmdet goes'),
    (categories('val', 'cat', 'cow'), 'json',
     "error: val.json: has no category for the class 'dog'; set metainfo=dict(classes=(...)) of"),
    (categories('unlabeled', 'cat'), 'json',
     'warning: unlabeled.json: has the categories cat, but the classes are cat, dog; nobody uses'),
    (both(categories('labeled', 'cat', 'dog', 'cow'), put('annotations', 2, category_id=3)), 'json',
     'warning: labeled.json: 1 annotations are of no class: cow; they are passed over; add them'),
    (every('annotations', category_id=1), 'json',
     "warning: labeled.json: has no annotation of the class 'dog'; the detector cannot learn it"),
    # --- Annotations where there should be some, or none.
    (lambda w: w.labeled.update(annotations=[]), 'json',
     'error: labeled.json: has no annotations; label some of its images, or give another file'),
    (lambda w: w.val.update(annotations=[]), 'json',
     'error: val.json: has no annotations; label some of its images, or give another file'),
    (lambda w: w.val['annotations'][1].pop('iscrowd'), 'json',
     "warning: val.json: annotations[1] (id 2) has no 'iscrowd'; write 0, or score with Fast"),
    # A text is true, whatever it says.
    (put('annotations', 0, iscrowd='0'), 'json',
     "error: labeled.json: 'iscrowd' of annotations[0] (id 1) is '0'; it must be 0 or 1, a number"),
    (put('annotations', 0, ignore=2), 'json',
     "error: labeled.json: 'ignore' of annotations[0] (id 1) is 2; it must be 0 or 1, a number"),
    # Nothing to learn from.
    (lambda w: [a.update(iscrowd=1) for a in w.labeled['annotations']], 'json',
     'error: labeled.json: has annotations of crowds, or ignored ones, alone; label some of its'),
    (lambda w: [a.update(ignore=1) for a in w.val['annotations']], 'json',
     'error: val.json: has annotations of crowds, or ignored ones, alone; label some of its'),
    (lambda w: w.val['annotations'][0].update(id=0), 'json',
     'warning: val.json: annotations[0] (id 0) is never found for CocoMetric, whatever is'),
    (lambda w: w.unlabeled.update(annotations=w.labeled['annotations']), 'json',
     'warning: unlabeled.json: is unlabelled, but has 3 annotations, which are ignored; take them'),
    # --- Settings of the data.
    # A comma is missing: ('cat') is a text, in which 'c', 'a' and 't' would be classes.
    (lambda w: w.sources[0].metainfo.update(classes='cat'), 'json',
     "error: train_dataloader.dataset.datasets[0].metainfo.classes: is the text 'cat', and no"),
    (lambda w: w.cfg.val_dataloader.dataset.metainfo.update(classes=('dog', 'cat')), 'json',
     'error: val.json: its categories come as cat, dog, but the classes as dog, cat; mmdet goes'),
    (lambda w: w.sources[1].metainfo.update(classes=('cat',)), 'json',
     'error: train_dataloader.dataset.datasets[1].metainfo.classes: has cat, but'),
    (setting('model.detector.roi_head.bbox_head.num_classes', 80), 'json',
     'error: model.detector.roi_head.bbox_head.num_classes: is 80, but the data have 2 classes'),
    (lambda w: w.sources[0].pop('data_prefix'), 'json',
     "error: train_dataloader.dataset.datasets[0].data_prefix: has no 'img'; say where the images"),
    (lambda w: w.sources[1].update(filter_cfg=dict(filter_empty_gt=True)), 'json',
     'error: train_dataloader.dataset.datasets[1].filter_cfg.filter_empty_gt: is set, which'),
    (lambda w: w.sources[0].update(type='CocoDatset'), 'json',
     "error: train_dataloader.dataset.datasets[0].type: no data set is called 'CocoDatset'; did"),
    # The wrong file gives 0 mAP.
    (setting('val_evaluator.ann_file', 'no/such.json'), 'json',
     'error: no/such.json: does not exist; see data/README.md for what goes where'),
    (other_order, 'json',
     'error: scored.json: its categories come as dog, cat, but the classes as cat, dog; mmdet'),
    (other_ids, 'json',
     'error: labeled.json: has no image of the id 7, which val.json has; give val_evaluator the'),
    # --- Images that are not there.
    (lambda w: (w.root / 'labeled/1.png').unlink(), 'json',
     'error: labeled.json: image labeled/1.png does not exist; get the images, or take them out'),
    (lambda w: w.sources[0].update(data_prefix=dict(img='pictures/')), 'json',
     'error: labeled.json: image pictures/0.png does not exist (and 2 more); correct data_root'),
    # One of many is skipped while training.
    (lambda w: (w.root / 'unlabeled/1.png').unlink(), 'json',
     'warning: unlabeled.json: image unlabeled/1.png does not exist; get the images, or take them'),
    (emptied, 'json',
     'error: unlabeled.json: image unlabeled/0.png does not exist (and 3 more); correct data_root'),
    # --- Images that are broken.
    (image(b''), 'image', 'error: labeled/0.png: is empty: 0 bytes; get it anew, or remove it'),
    (image(b'<html>404</html>'), 'image',
     'error: labeled/0.png: is not an image; get it anew, or remove it'),
    (image(bytes(1000)), 'image', 'error: labeled/0.png: is not an image; get it anew, or remove'),
    (image(half('PNG')), 'image', 'error: labeled/0.png: is cut off: the end of its PNG data is'),
    (image(half('JPEG')), 'image', 'error: labeled/0.png: is cut off: the end of its JPEG data is'),
    # What a crash may leave: of the right length. OpenCV fills it with grey.
    (image(half('JPEG') + bytes(500)), 'image',
     'error: labeled/0.png: is cut off: the end of its JPEG data is missing; get it anew, or'),
    (image(encode('JPEG')[:3]), 'image',
     'error: labeled/0.png: is cut off: the end of its JPEG data is missing; get it anew, or'),
    (image(half('BMP')), 'image', 'error: labeled/0.png: is a BMP that is cut off, damaged or of'),
    (image(half('TIFF')), 'image',
     'error: labeled/0.png: is a TIFF that is cut off, damaged or of a rare kind; save it anew as'),
    (image(half('WEBP')), 'image',
     'error: labeled/0.png: is a WebP that is cut off, damaged or of a rare kind; save it anew as'),
    (image(scrambled), 'image', 'error: labeled/0.png: is a PNG that is cut off, damaged or of a'),
    # Measurements rather than pixels.
    (image(floats), 'image', 'error: labeled/0.png: is a TIFF that is cut off, damaged or of a'),
    (lambda w: (w.root / 'labeled/0.png').unlink() or (w.root / 'labeled/0.png').mkdir(), 'image',
     'error: labeled/0.png: cannot be read: Is a directory; check its permissions and disk'),
    # Some megabytes that would take gigabytes in memory; the second beyond what Pillow opens.
    (image(png_header(10_000, 10_000)), 'image',
     'error: labeled/0.png: is 10000 x 10000, which is more than 89,478,485 pixels; cut it into'),
    (image(png_header(60_000, 60_000)), 'image',
     'error: labeled/0.png: is 60000 x 60000, which is more than 89,478,485 pixels; cut it into'),
    (image(bmp_header(60_000, 60_000)), 'image',
     'error: labeled/0.png: has more than 89,478,485 pixels; cut it into tiles or make it smaller'),
    (put('images', 0, width=41), 'image',
     'error: labeled/0.png: is 40 x 30, but 41 x 30 in its annotation file; correct width, height'),
    (image(encode('PNG', size=(80, 60))), 'image',
     'error: labeled/0.png: is 80 x 60, but 40 x 30 in its annotation file; correct width, height'),
    (image(turned()), 'image',
     'error: labeled/0.png: is 40 x 30 in its annotation file, as it is stored, but its EXIF'),
    # Swapped by hand: nothing to do with EXIF.
    (put('images', 0, width=30, height=40), 'image',
     'error: labeled/0.png: is 40 x 30, but 30 x 40 in its annotation file; correct width, height'),
    # Unlabelled ones are skipped, up to half of them here.
    (image(b'', 'unlabeled/0.png'), 'image',
     'warning: unlabeled/0.png: is empty: 0 bytes; get it anew, or remove it'),
    (both(*(image(b'', f'unlabeled/{i}.png') for i in range(3))), 'image',
     'error: unlabeled.json: 3 of 4 images are broken; training stops at more than max_share=0.5:'),
    # --- Images of other kinds, which are loaded.
    (image(encode('PNG', 'L')), 'image',
     'warning: labeled.json: labeled/0.png has one channel; it is loaded as three equal ones'),
    (image(encode('PNG', 'RGBA')), 'image',
     'warning: labeled.json: labeled/0.png has transparency; it is left out, and what was hidden'),
    (image(encode('JPEG', 'CMYK')), 'image',
     "warning: labeled.json: labeled/0.png has printers' colours (CMYK); they are converted"),
    (image(deep('PNG')), 'image',
     'warning: labeled.json: labeled/0.png has 16 bits per channel; the lower 8 are cut off, so'),
    (image(deep('TIFF')), 'image', 'warning: labeled.json: labeled/0.png has 16 bits per channel;'),
    # Its size says nothing, its boxes may be for the other way up.
    (image(upside_down()), 'image',
     'warning: labeled.json: labeled/0.png is turned by its EXIF orientation; boxes must be those'),
    # --- A folder of unlabelled images.
    (folder(lambda w: w.sources[1].update(data_root='no/folder')), 'json',
     'error: no/folder: is no folder; give train_dataloader.dataset.datasets[1].data_root the'),
    (folder(emptied), 'json',
     'error: train_dataloader.dataset.datasets[1]: UnlabeledFolder: no image in unlabeled or its'),
    (folder(emptied, write('unlabeled/a.txt', b'')), 'json',
     'error: train_dataloader.dataset.datasets[1]: UnlabeledFolder: no image in unlabeled or its'),
    (folder(write('unlabeled/a.txt', b''), write('unlabeled/b.gif', b'')), 'json',
     'warning: unlabeled: a.txt is not named like an image (and 1 more); it is passed over;'),
    (folder(link('unlabeled/loop', 'unlabeled')), 'json',
     'warning: unlabeled: loop leads nowhere, or to a folder seen before; it is passed over'),
    (folder(link('unlabeled/self.png', 'unlabeled/self.png')), 'json',
     'warning: unlabeled: self.png leads nowhere, or to a folder seen before; it is passed over'),
    (folder(link('unlabeled/gone.png', 'gone.png')), 'json',
     'warning: unlabeled: gone.png leads nowhere, or to a folder seen before; it is passed over'),
    # A byte that is no UTF-8, and a new line: one line, whatever a name holds.
    (folder(image(encode('PNG'), 'unlabeled/caf\udce9.png')), 'json',
     r'warning: unlabeled: caf\xe9.png has a name that cannot be shown; rename it; logs show it'),
    (folder(image(encode('PNG'), 'unlabeled/a\nb.png')), 'json',
     r'warning: unlabeled: a\nb.png has a name that cannot be shown; rename it; logs show it like'),
    (folder(image(b'', 'unlabeled/caf\udce9.png')), 'image',
     r'warning: unlabeled/caf\xe9.png: is empty: 0 bytes; get it anew, or remove it'),
    (folder(forbid('unlabeled/sub')), 'json',
     'warning: unlabeled: sub cannot be looked into; check its permissions'),
    (folder(forbid('unlabeled')), 'json',
     'error: train_dataloader.dataset.datasets[1]: UnlabeledFolder: data_root unlabeled cannot be'),
    # --- Images in two data sets.
    (lambda w: w.cfg.val_dataloader.dataset.update(data_prefix=dict(img='labeled/')), 'json',
     'warning: labeled.json: 2 of its images are also in val.json, such as labeled/0.png; a leak:'),
    # The same files by another way.
    (both(link('linked', 'val'), lambda w: w.sources[0].update(data_prefix=dict(img='linked/')),
          lambda w: w.labeled['images'].pop(), lambda w: w.labeled['annotations'].pop()), 'json',
     'warning: labeled.json: 2 of its images are also in val.json, such as linked/0.png; a leak:'),
    (folder(link('unlabeled/x.png', 'val/0.png')), 'json',
     'warning: unlabeled: 1 of its images are also in val.json, such as unlabeled/x.png; a leak:'),
    # Copies are seen when images are opened.
    (copy('val/1.png', 'labeled/2.png'), 'image',
     'warning: labeled.json: 1 of its images are, as copies, also in val.json, such as'),
    (copy('val/1.png', 'unlabeled/2.png'), 'image',
     'warning: unlabeled.json: 1 of its images are, as copies, also in val.json, such as'),
    (copy('labeled/1.png', 'unlabeled/2.png'), 'image',
     'warning: labeled.json: 1 of its images are, as copies, also in unlabeled.json, such as'),
    # The split was forgotten.
    (lambda w: w.sources[1].update(ann_file='labeled.json', data_prefix=dict(img='labeled/')),
     'json',
     'warning: labeled.json: 3 of its images are also in labeled.json, such as labeled/0.png;'),
    # --- Names in a config.
    (lambda w: setattr(w.cfg, 'trian_cfg', {}), 'json',
     "error: mine.py: nobody reads the setting 'trian_cfg'; did you mean 'train_cfg'? Give it"),
    (build(TRANSFORMS, type='LoadImage', backend={}), 'build',
     "error: LoadImage: unknown setting 'backend'; did you mean 'backend_args'?"),
    # Not of ours, but as clear.
    (build(DATASETS, type='CocoDataset', anfile='x'), 'build',
     "error: CocoDataset: unknown setting 'anfile'; did you mean 'ann_file'?"),
    (build(TRANSFORMS, type='RandomFlop'), 'build',
     "error: config: there is no transform called 'RandomFlop'; did you mean 'RandomFlip'?"),
    # --- Batches.
    (sampler([1, 3], batch_size=6), 'build',
     'error: batch_size=6 does not fit source_ratio=[1, 3]: it must be a multiple of 4, such as 4'),
    (sampler([1], batch_size=4), 'build',
     'error: SourceRatioSampler: source_ratio=[1] has 1 numbers for 2 data sets; give one for'),
    (sampler([0, 4], batch_size=4), 'build',
     'error: SourceRatioSampler: source_ratio=[0, 4] must be whole numbers of at least 1; leave a'),
    # --- Views whose geometry cannot be followed.
    (build(TRANSFORMS, type='TwoViews', strong=[dict(type='RandomAffine')]), 'build',
     'error: strong view: RandomAffine moves boxes by 15 pixels without recording it in'),
    (build(TRANSFORMS, type='TwoViews', weak=[dict(type='Mosaic')]), 'build',
     'error: weak view: Mosaic mixes in other images, which no matrix can record; use Resize,'),
    # --- Checkpoints.
    (load(('cat', 'dog'), kind=lambda: nn.Linear(1, 2)), 'build',
     "error: the checkpoint is not of this kind of detector: only 0 of the model's 4 tensors are"),
    # Scored with the rest as it was initialized, it would be 0 mAP.
    (load(('cat', 'cow')), 'build',
     'error: the checkpoint is not of this model: student: class head adapted: 1 of 2 classes'),
    (load(('dog', 'cat'), resume=True), 'build',
     'error: the checkpoint is not of this model: student: class head adapted: 2 of 2 classes'),
]
# fmt: on


@pytest.fixture
def world(world, monkeypatch):
    """The data set, from whose folder paths begin."""
    world.forbidden = []
    scandir = os.scandir

    def refuse(path='.'):
        if str(path) in world.forbidden:
            raise PermissionError(13, 'Permission denied', str(path))
        return scandir(path)

    monkeypatch.setattr(os, 'scandir', refuse)
    monkeypatch.chdir(world.root)
    return world


def begins(line, message, root):
    return line.replace(f'{root}/', '').replace(str(root), '').startswith(message)


def test_nothing_is_wrong_with_the_data_set_itself(world):
    # Or else each row of the table might be right by chance.
    world.write()
    assert world.told() == []
    check_data_of(world.cfg)
    world.use_folder()
    assert world.told() == []


def test_there_are_enough_cases():
    assert len(TABLE) >= 60
    assert len({message for _, _, message in TABLE}) >= 60


# Pillow warns of huge images as well.
@pytest.mark.filterwarnings('ignore::PIL.Image.DecompressionBombWarning')
@pytest.mark.parametrize(('damage', 'when', 'message'), TABLE, ids=[m[:60] for *_, m in TABLE])
def test_bad_input_gets_one_line(world, damage, when, message, capsys, monkeypatch):
    if when == 'build':
        assert_stops(lambda: damage(world), message, world.root, capsys)
        return
    damage(world)
    world.write()
    try:
        lines = world.told()
    except ValueError as error:
        lines = [f'error: {error}']
    told = [line for line in lines if begins(line, message, world.root)]
    assert len(told) == 1, '\n'.join(lines)
    # One line, with a remedy, that any terminal shows.
    assert told[0].isprintable()
    assert '; ' in told[0]
    if when == 'image':
        return
    logged = []
    # The logger would write to the stream of whichever test first used it, which may be closed.
    monkeypatch.setattr(before_run, 'print_log', lambda line, *_: logged.append(line))
    if message.startswith('error'):
        assert_stops(lambda: start(world.cfg), message, world.root, capsys)
    else:
        start(world.cfg)
        assert told[0].removeprefix('warning: ') in logged


def start(cfg):
    """What a run does before it trains."""
    check_settings_of(cfg)
    check_data_of(cfg)


def assert_stops(run, message, root, capsys):
    with pytest.raises(SystemExit) as left, errors_in_one_line():
        run()
    assert left.value.code == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert begins(line, message, root), line
