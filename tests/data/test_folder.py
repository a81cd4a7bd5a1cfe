"""A folder of unlabelled images."""

import os
import re
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from mmdet.datasets import CocoDataset
from mmdet.registry import DATASETS
from mmengine.dataset import ConcatDataset
from PIL import Image

from ssod.data.coco_json import write_json
from ssod.data.folder import UnlabeledFolder, look_into


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b'not opened')


def image_ids(root):
    dataset = UnlabeledFolder(str(root))
    return [dataset.get_data_info(i)['img_id'] for i in range(len(dataset))]


def test_one_image(tmp_path):
    touch(tmp_path, 'a.jpg')
    dataset = UnlabeledFolder(str(tmp_path))
    assert len(dataset) == 1
    info = dataset.get_data_info(0)
    assert (info['img_id'], info['img_path']) == ('a.jpg', str(tmp_path / 'a.jpg'))
    assert info['instances'] == []
    assert dataset.get_cat_ids(0) == []


def test_sub_folders_extensions_and_order(tmp_path):
    touch(tmp_path, 'z.jpg', 'b/a.PNG', 'b/c/d.JPeG', 'a.webp', 'b.tif', 'c.TIFF', 'd.bmp')
    touch(tmp_path, 'notes.txt', 'jpg', '._z.jpg', '.cache/thumb.jpg', 'e.gif')
    expected = ['a.webp', 'b.tif', 'b/a.PNG', 'b/c/d.JPeG', 'c.TIFF', 'd.bmp', 'z.jpg']
    assert image_ids(tmp_path) == expected


def test_thumbnails_of_a_storage_are_no_images(tmp_path):
    touch(tmp_path, 'a.jpg', '@eaDir/a.jpg/SYNOPHOTO_THUMB_M.jpg', '@home/b.jpg')
    touch(tmp_path, 'sub/c.jpg', 'sub/@eaDir/c.jpg/SYNOPHOTO_THUMB_M.jpg')
    assert image_ids(tmp_path) == ['@home/b.jpg', 'a.jpg', 'sub/c.jpg']


def test_ids_stay_when_images_are_added(tmp_path):
    touch(tmp_path, 'x/a.jpg', 'y/a.jpg')
    before = image_ids(tmp_path)
    assert len(set(before)) == 2
    touch(tmp_path, '0.jpg')
    assert image_ids(tmp_path) == ['0.jpg', *before]


def test_symbolic_links(tmp_path):
    root, elsewhere = tmp_path / 'root', tmp_path / 'elsewhere'
    touch(root, 'sub/a.jpg')
    touch(elsewhere, 'b.jpg')
    os.symlink(elsewhere, root / 'linked')
    os.symlink(root / 'sub', root / 'twice')
    os.symlink(tmp_path / 'gone.jpg', root / 'dangling.jpg')
    os.symlink(elsewhere / 'b.jpg', root / 'file.jpg')
    assert image_ids(root) == ['file.jpg', 'linked/b.jpg', 'sub/a.jpg']


def test_a_loop_of_symbolic_links(tmp_path):
    touch(tmp_path, 'sub/a.jpg')
    os.symlink(tmp_path, tmp_path / 'sub' / 'loop')
    assert image_ids(tmp_path) == ['sub/a.jpg']


# Whoever runs the tests may be allowed to do all.
def test_a_folder_that_can_be_listed_exclude_entered(tmp_path, monkeypatch):
    touch(tmp_path, 'a.jpg', 'sub/b.jpg', 'sub/deep/c.jpg')

    def may(path, mode, forbidden=tmp_path / 'sub'):
        return Path(path) != forbidden

    monkeypatch.setattr(os, 'access', may)
    content = look_into(tmp_path)
    assert content == ([tmp_path / 'a.jpg'], [], [], [tmp_path / 'sub'], [])
    monkeypatch.setattr(os, 'access', partial(may, forbidden=tmp_path))
    with pytest.raises(PermissionError, match='cannot be read; check its permissions'):
        look_into(tmp_path)


def test_a_link_into_a_folder_that_cannot_be_entered(tmp_path, monkeypatch):
    touch(tmp_path, 'a.jpg')
    os.symlink(tmp_path / 'elsewhere' / 'b.jpg', tmp_path / 'link.jpg')
    stat = os.stat

    def refuse(path, **options):
        if str(path).endswith('link.jpg'):
            raise PermissionError(13, 'Permission denied', str(path))
        return stat(path, **options)

    monkeypatch.setattr(os, 'stat', refuse)
    content = look_into(tmp_path)
    assert content == ([tmp_path / 'a.jpg'], [], [tmp_path / 'link.jpg'], [], [])


def test_files_are_not_asked_one_by_one(tmp_path, monkeypatch):
    # With 100,000 images on a network's storage, that takes minutes.
    touch(tmp_path, *(f'{i}.jpg' for i in range(50)), 'sub/notes.txt')
    asked = []
    monkeypatch.setattr(Path, 'is_file', lambda path: asked.append(path))
    content = look_into(tmp_path)
    assert (len(content.images), len(content.others), content.links) == (50, 1, [])
    assert not asked


def exclude(root, names, images):
    """A COCO JSON that names some images, as the setting has it."""
    file = root / 'known.json'
    write_json(file, {'images': [{'file_name': name} for name in names]})
    return dict(ann_file=str(file), images=str(images))


# What each row proves: a name is one in a folder, not any file called so; a file is the same by
# another path, through a link of a folder or of its own, whichever of the two is in the folder; an
# image that does not exist is none of them; nor is a name that no file can have.
@pytest.mark.parametrize(
    ('names', 'images', 'left'),
    [
        ([], 'root', ['a.jpg', 'b.jpg', 'link.jpg', 'sub/a.jpg']),
        (['a.jpg'], 'root', ['b.jpg', 'link.jpg', 'sub/a.jpg']),
        (['sub/a.jpg'], 'root', ['a.jpg', 'b.jpg', 'link.jpg']),
        (['a.jpg', 'b.jpg'], 'root/sub', ['a.jpg', 'b.jpg', 'link.jpg']),
        (['sub/../a.jpg', './b.jpg'], 'root/', ['link.jpg', 'sub/a.jpg']),
        (['a.jpg'], 'linked', ['b.jpg', 'link.jpg', 'sub/a.jpg']),
        (['c.jpg'], 'elsewhere', ['a.jpg', 'b.jpg', 'sub/a.jpg']),
        (['link.jpg'], 'root', ['a.jpg', 'b.jpg', 'sub/a.jpg']),
        (['b_too.jpg'], 'elsewhere', ['a.jpg', 'link.jpg', 'sub/a.jpg']),
        (['a.jpg', 'none.jpg'], 'gone', ['a.jpg', 'b.jpg', 'link.jpg', 'sub/a.jpg']),
        (['\0/a.jpg', '\0', 7, ''], 'root', ['a.jpg', 'b.jpg', 'link.jpg', 'sub/a.jpg']),
    ],
)
def test_images_that_a_json_names(tmp_path, names, images, left):
    root, elsewhere = tmp_path / 'root', tmp_path / 'elsewhere'
    touch(root, 'a.jpg', 'b.jpg', 'sub/a.jpg')
    touch(elsewhere, 'c.jpg')
    os.symlink(elsewhere / 'c.jpg', root / 'link.jpg')
    os.symlink(root / 'b.jpg', elsewhere / 'b_too.jpg')
    os.symlink(root, tmp_path / 'linked')
    known = exclude(tmp_path, names, tmp_path / images)
    dataset = UnlabeledFolder(str(root), exclude=[known])
    found = [dataset.get_data_info(i)['img_id'] for i in range(len(dataset))]
    assert found == left
    # Wherever the paths begin.
    relative = {key: os.path.relpath(path) for key, path in known.items()}
    assert len(UnlabeledFolder(os.path.relpath(root), exclude=[relative])) == len(left)


def test_only_named_images_and_links_are_looked_up(tmp_path, monkeypatch):
    # With 100,000 images on a network's storage, to look up each takes minutes.
    root = tmp_path / 'root'
    touch(root, *(f'{i}.jpg' for i in range(50)))
    os.symlink(root / '1.jpg', root / 'link.jpg')
    known = exclude(tmp_path, ['1.jpg'], root)
    asked, is_link = [], os.path.islink
    monkeypatch.setattr(os.path, 'islink', lambda path: asked.append(path) or is_link(path))
    assert len(look_into(root, [known]).images) == 49
    assert sorted(asked) == [str(root / '1.jpg'), str(root / 'link.jpg')]


def test_all_images_are_named(tmp_path):
    root = tmp_path / 'root'
    touch(root, 'a.jpg', 'b.jpg')
    known = exclude(tmp_path, ['a.jpg', 'b.jpg'], root)
    told = f'{root}: each of its 2 images is also in {tmp_path}/known.json, .*; give a folder with'
    with pytest.raises(ValueError, match=told):
        look_into(root, [known])


@pytest.mark.parametrize(
    'wrong',
    [
        ['a.json'],
        dict(ann_file='a.json', images='a'),
        [dict(ann_file='a.json')],
        [dict(ann_file='a.json', image='a')],
    ],
)
def test_what_does_not_say_which_images(tmp_path, wrong):
    touch(tmp_path, 'a.jpg')
    told = 'UnlabeledFolder: exclude has .*, but must be a list of dicts, each with an ann_file and'
    with pytest.raises(ValueError, match=told):
        UnlabeledFolder(str(tmp_path), exclude=wrong)


def test_a_missing_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'gone is not a folder; give a folder of images'):
        UnlabeledFolder(str(tmp_path / 'gone'))


def test_no_image(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'looked for \.bmp, .*\.webp, found no file'):
        UnlabeledFolder(str(tmp_path))
    touch(tmp_path, 'a.txt', 'b.txt', 'c.gif', 'README')
    with pytest.raises(
        FileNotFoundError,
        match=re.escape('found files: 2 with .txt, 1 with no extension, 1 with .gif'),
    ):
        UnlabeledFolder(str(tmp_path))


def test_lazy_init_looks_later(tmp_path):
    dataset = UnlabeledFolder(str(tmp_path), lazy_init=True)
    touch(tmp_path, 'a.jpg')
    assert len(dataset) == 1


def test_misspelt_settings():
    with pytest.raises(ValueError, match=r"UnlabeledFolder.*did you mean 'data_root'"):
        DATASETS.build(dict(type='UnlabeledFolder', dataroot='x'))


def test_two_views_beside_a_labelled_data_set(tmp_path):
    pixels = np.arange(30 * 20 * 3, dtype=np.uint8).reshape(20, 30, 3)
    Image.fromarray(pixels).save(tmp_path / 'a.png')
    write_json(
        tmp_path / 'labeled.json',
        {
            'images': [{'id': 1, 'file_name': 'a.png', 'width': 30, 'height': 20}],
            'annotations': [
                {'id': 1, 'image_id': 1, 'category_id': 5, 'bbox': [1, 2, 3, 4], 'area': 12}
            ],
            'categories': [{'id': 5, 'name': 'cat'}],
        },
    )
    metainfo = dict(classes=('cat',))
    load = dict(type='LoadImageFromFile')
    labeled = CocoDataset(
        ann_file=str(tmp_path / 'labeled.json'),
        data_prefix=dict(img=str(tmp_path)),
        metainfo=metainfo,
        pipeline=[
            load,
            dict(type='mmdet.LoadAnnotations', with_bbox=True),
            dict(type='mmdet.LabeledView'),
        ],
    )
    flip = dict(type='mmdet.RandomFlip', prob=1.0)
    folder = DATASETS.build(
        dict(
            type='UnlabeledFolder',
            data_root=str(tmp_path),
            metainfo=metainfo,
            pipeline=[load, dict(type='mmdet.TwoViews', strong=[flip])],
        )
    )
    both = ConcatDataset([labeled, folder])
    assert both.metainfo['classes'] == ('cat',)
    assert both.cumulative_sizes == [1, 2]
    weak = both[1]['data_samples']['weak']
    assert (weak.img_id, weak.ori_shape) == ('a.png', (20, 30))
    assert both[1]['inputs']['strong'].flip(-1).equal(both[1]['inputs']['weak'])
    assert both[0]['data_samples']['labeled'].gt_instances.bboxes.tensor.tolist() == [[1, 2, 4, 6]]
