"""Data sets put into a config by their paths."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from mmengine.config import Config, ConfigDict
from PIL import Image

from ssod.own_data import OwnData, class_names, part_validation, use_data, use_folder

CONFIG = 'configs/mt_fasterrcnn_digits10pct.py'


def write_coco(path, images, names=('cat', 'dog')):
    content = {
        'images': [
            {'id': i, 'file_name': f'{i}.png', 'width': 8, 'height': 8} for i in range(images)
        ],
        'annotations': [
            {
                'id': i,
                'image_id': i,
                'category_id': 5,
                'bbox': [1, 1, 4, 4],
                'area': 16,
                'iscrowd': 0,
                'segmentation': [],
            }
            for i in range(images)
        ],
        'categories': [{'id': 5 + i, 'name': name} for i, name in enumerate(names)],
    }
    path.write_text(json.dumps(content))
    return path


@pytest.fixture
def data(tmp_path):
    for folder in ('pictures', 'more'):
        (tmp_path / folder).mkdir()
    labeled = write_coco(tmp_path / 'labeled.json', 10)
    val = write_coco(tmp_path / 'val.json', 2)
    return OwnData(labeled, tmp_path / 'pictures', tmp_path / 'more', val)


def put(data, config=CONFIG, work_dir='.'):
    cfg = Config.fromfile(config)
    cfg.work_dir = str(work_dir)
    before = cfg.to_dict()
    use_data(cfg, data)
    return cfg, before


def test_a_folder_of_pictures(data, tmp_path):
    cfg, before = put(data)
    labeled, unlabeled = cfg.train_dataloader.dataset.datasets
    assert (labeled.type, unlabeled.type) == ('CocoDataset', 'UnlabeledFolder')
    assert labeled.ann_file == str(tmp_path / 'labeled.json')
    assert labeled.data_prefix.img == f'{tmp_path}/pictures/'
    assert unlabeled.data_root == str(tmp_path / 'more')
    for part in ('val', 'test'):
        dataset = cfg[f'{part}_dataloader'].dataset
        assert dataset.ann_file == cfg[f'{part}_evaluator'].ann_file == str(tmp_path / 'val.json')
        # Where nothing else is said, all labelled images are in one folder.
        assert dataset.data_prefix.img == f'{tmp_path}/pictures/'
        assert dataset.test_mode
    assert cfg.model.detector.roi_head.bbox_head.num_classes == 2
    # Nobody knows the hidden truth of a folder.
    assert cfg.default_hooks.quality.ann_file is None
    # Views, batches and the rest stay.
    sources = before['train_dataloader']['dataset']['datasets']
    for old, new in zip(sources, (labeled, unlabeled), strict=True):
        assert new.pipeline == old['pipeline']
        assert new.metainfo.classes == ('cat', 'dog')
    assert cfg.train_dataloader.sampler == before['train_dataloader']['sampler']
    # The digits' own settings do not.
    assert 'scenes' not in labeled


def test_unlabelled_images_in_a_json(data, tmp_path):
    json_file = write_coco(tmp_path / 'more.json', 4)
    given = OwnData(
        data.labeled,
        data.images,
        json_file,
        data.val,
        val_images=tmp_path / 'more',
        truth=json_file,
    )
    cfg, _ = put(given)
    unlabeled = cfg.train_dataloader.dataset.datasets[1]
    assert (unlabeled.type, unlabeled.ann_file) == ('CocoDataset', str(json_file))
    # Trap: without annotations no image would be left.
    assert not unlabeled.filter_cfg.filter_empty_gt
    assert unlabeled.data_prefix.img == f'{tmp_path}/pictures/'
    assert cfg.val_dataloader.dataset.data_prefix.img == f'{tmp_path}/more/'
    assert cfg.default_hooks.quality.ann_file == str(json_file)


def test_a_selector_counts_the_labels(data, tmp_path):
    cfg = Config.fromfile(CONFIG)
    cfg.work_dir = str(tmp_path / 'work')
    selector = dict(type='FrequencySelector', ann_file='none.json', share=0.5)
    cfg.default_hooks.teacher.selector = ConfigDict(
        type='SequentialSelector', selectors=[selector, dict(type='TopKSelector', k=9)]
    )
    use_data(cfg, replace(data, val=None))
    found = cfg.default_hooks.teacher.selector.selectors[0]
    # Of the labelled images that are not kept for validation.
    assert found.ann_file == str(tmp_path / 'work/labeled.json')
    assert (found.classes, found.share) == (('cat', 'dog'), 0.5)


def test_a_selector_has_the_datas_classes(data, tmp_path):
    cfg = Config.fromfile('configs/consistentteacher_retinanet_digits10pct.py')
    cfg.work_dir = str(tmp_path / 'work')
    use_data(cfg, data)
    assert cfg.default_hooks.teacher.selector.selectors[1].num_classes == 2


def test_labels_alone(data):
    cfg, _ = put(data, 'configs/supervised_fasterrcnn_digits10pct.py')
    (labeled,) = cfg.train_dataloader.dataset.datasets
    assert labeled.ann_file == str(data.labeled)


def test_labelled_images_in_two_views(data):
    # Unbiased Teacher's sources are the labelled images twice, and the unlabelled ones.
    cfg, before = put(data, 'configs/unbiasedteacher_fasterrcnn_coco10pct.py')
    *labeled, unlabeled = cfg.train_dataloader.dataset.datasets
    assert [source.ann_file for source in labeled] == [str(data.labeled)] * 2
    assert unlabeled.type == 'UnlabeledFolder'
    old = before['train_dataloader']['dataset']['datasets']
    for number, source in enumerate((*labeled, unlabeled)):
        assert source.pipeline == old[number]['pipeline']
    use_folder(cfg, data.images)
    assert [source.type for source in labeled] == ['CocoDataset'] * 2
    assert cfg.train_dataloader.dataset.datasets[-1].data_root == str(data.images)


def test_without_validation_images(data, tmp_path, caplog):
    given = OwnData(data.labeled, data.images, data.unlabeled)
    cfg, _ = put(given, work_dir=tmp_path / 'run')
    labeled, val = (
        json.loads((tmp_path / f'run/{name}.json').read_text()) for name in ('labeled', 'val')
    )
    assert cfg.train_dataloader.dataset.datasets[0].ann_file == str(tmp_path / 'run/labeled.json')
    assert cfg.val_evaluator.ann_file == str(tmp_path / 'run/val.json')
    ids = [[image['id'] for image in part['images']] for part in (labeled, val)]
    # A fifth of ten; none is in both.
    assert [len(part) for part in ids] == [8, 2]
    assert sorted(ids[0] + ids[1]) == list(range(10))
    assert [a['image_id'] for a in labeled['annotations']] == ids[0]
    # A resumed run finds the same.
    put(given, work_dir=tmp_path / 'run')
    assert json.loads((tmp_path / 'run/val.json').read_text()) == val


def label_alone(path, places):
    """Remove all objects but those of images at some places; of the others a crowd stays."""
    content = json.loads(path.read_text())
    for place, annotation in enumerate(content['annotations']):
        annotation['iscrowd'] = int(place not in places)
    path.write_text(json.dumps(content))


# Objects that are rare are in both parts, whichever images they are in.
@pytest.mark.parametrize('places', [{0, 1}, {3, 8}, {7, 9}, {0, 4, 5, 9}])
def test_validation_images_have_objects(data, tmp_path, places):
    label_alone(data.labeled, places)
    parts = [
        {image['id'] for image in json.loads(file.read_text())['images']}
        for file in part_validation(data.labeled, tmp_path / 'run')
    ]
    # The one, and a fifth of the others.
    assert [len(part) for part in parts] == ([7, 3] if len(places) == 2 else [8, 2])
    assert parts[0] | parts[1] == set(range(10))
    assert [len(part & places) for part in parts] == [len(places) - 1, 1]


def test_the_draw_stays(data, tmp_path):
    # Of data whose images all have objects, as in earlier versions.
    _, val = part_validation(data.labeled, tmp_path / 'run')
    assert [image['id'] for image in json.loads(val.read_text())['images']] == [4, 6]


def test_too_few_objects_to_part(data, tmp_path):
    label_alone(data.labeled, {3})
    told = r'labeled.json: only one labelled image has an object, .* --val'
    with pytest.raises(ValueError, match=told):
        part_validation(data.labeled, tmp_path / 'run')
    # That there is none at all is told later.
    label_alone(data.labeled, {})
    part_validation(data.labeled, tmp_path / 'run')


@pytest.mark.parametrize('kind', ['json', 'voc'])
def test_other_data_leave_those_of_an_earlier_run(data, tmp_path, kind):
    """In the same work directory, as nobody knows yet whether the new run is refused."""
    run, labeled = tmp_path / 'run', data.labeled
    if kind == 'voc':
        labeled = write_voc(tmp_path / 'voc', 10)
    given = OwnData(labeled, data.images, data.unlabeled)
    put(given, work_dir=run)
    before = {file: file.read_bytes() for file in run.rglob('*.json')}
    if kind == 'voc':
        (labeled / 'sub/9.xml').unlink()
    else:
        write_coco(labeled, 9)
    for _ in range(2):
        cfg, _ = put(given, work_dir=run)
        assert {file: file.read_bytes() for file in before} == before
        files = [cfg.train_dataloader.dataset.datasets[0].ann_file, cfg.val_evaluator.ann_file]
        assert files == [str(run / 'labeled_2.json'), str(run / 'val_2.json')]
        assert sum(len(json.loads(Path(file).read_text())['images']) for file in files) == 9
    assert len(list(run.rglob('*.json'))) == 2 * len(before)


@pytest.mark.parametrize('name', ['labeled', 'val', 'link', 'labeled_2'])
def test_a_part_is_not_parted_again(data, tmp_path, name):
    given = OwnData(data.labeled, data.images, data.unlabeled)
    put(given, work_dir=tmp_path / 'run')
    write_coco(data.labeled, 20)
    put(given, work_dir=tmp_path / 'run')
    (tmp_path / 'run/link.json').symlink_to('labeled.json')
    part = tmp_path / f'run/{name}.json'
    before = part.read_text()
    told = rf'run/{name}\.json was split off .*/val{"_2" if "2" in name else ""}\.json, or an'
    with pytest.raises(ValueError, match=told):
        put(replace(given, labeled=part), work_dir=tmp_path / 'run')
    assert part.read_text() == before
    # It may be learnt from as a whole.
    put(replace(given, labeled=part, val=tmp_path / 'run/val.json'), work_dir=tmp_path / 'run')
    assert part.read_text() == before


@pytest.mark.parametrize('count', [1, 2])
def test_too_few_to_part(data, tmp_path, count):
    content = json.loads(data.labeled.read_text())
    for part in ('images', 'annotations'):
        content[part] = content[part][:count]
    few = tmp_path / 'few.json'
    few.write_text(json.dumps(content))
    with pytest.raises(
        ValueError, match=rf'few.json: {count} labelled images are too few .* --val'
    ):
        part_validation(few, tmp_path / 'run')


@pytest.mark.parametrize(
    ('part', 'field', 'value', 'told'),
    [
        ('categories', 'name', None, r"'name' of categories\[0\] .* is None; it must be a name"),
        ('categories', 'name', 7, r"'name' of categories\[0\] .* is 7; it must be a name"),
        ('images', 'id', None, r"'id' of images\[0\] is None; it must be a whole number or text"),
        ('annotations', 'image_id', None, r"'image_id' of annotations\[0\] .* the id of an image"),
    ],
)
def test_wrong_entries_are_named_before_anything_is_made_of_them(
    data, tmp_path, part, field, value, told
):
    content = json.loads(data.labeled.read_text())
    content[part][0][field] = value
    wrong = tmp_path / 'wrong.json'
    wrong.write_text(json.dumps(content))
    cfg = Config.fromfile(CONFIG)
    cfg.work_dir = str(tmp_path / 'run')
    with pytest.raises(ValueError, match=told):
        use_data(cfg, replace(data, labeled=wrong, val=None))
    assert not Path(cfg.work_dir).exists()


def test_classes(tmp_path):
    # In the order of the file, which is mmdet's.
    path = write_coco(tmp_path / 'x.json', 1, ('b', 'a'))
    assert class_names(path) == ('b', 'a')
    empty = write_coco(tmp_path / 'y.json', 1, ())
    with pytest.raises(ValueError, match=r'y.json: categories is empty'):
        class_names(empty)
    with pytest.raises(FileNotFoundError, match='none.json does not exist'):
        class_names(tmp_path / 'none.json')


def test_another_folder(tmp_path):
    cfg = Config.fromfile(CONFIG)
    use_folder(cfg, tmp_path)
    unlabeled = cfg.train_dataloader.dataset.datasets[1]
    assert (unlabeled.type, unlabeled.data_root) == ('UnlabeledFolder', str(tmp_path))
    # Of the labelled images, whose kind of data set names them.
    assert list(unlabeled.metainfo.classes) == [str(digit) for digit in range(10)]
    alone = Config.fromfile('configs/supervised_fasterrcnn_digits10pct.py')
    with pytest.raises(ValueError, match='it has no unlabelled images that'):
        use_folder(alone, tmp_path)


# What each row proves: a published detector has no training data; one of mmdet's has other ones.
@pytest.mark.parametrize(
    ('own', 'told'),
    [
        ({}, r'plain\.py: it has no train_dataloader, like a plain detector; give the run'),
        ({'train_dataloader': {'dataset': {'type': 'CocoDataset'}}}, 'it has no unlabelled images'),
    ],
)
def test_a_plain_detectors_config_has_no_folder(tmp_path, own, told):
    (tmp_path / 'plain.py').touch()
    cfg = Config({'model': {}, **own}, filename=str(tmp_path / 'plain.py'))
    with pytest.raises(ValueError, match=told):
        use_folder(cfg, tmp_path)


def write_voc(root, images, names=('sheep',)):
    """Pascal VOC: an object in each image, the XML files beside the images."""
    box = '<bndbox><xmin>2</xmin><ymin>2</ymin><xmax>5</xmax><ymax>5</ymax></bndbox>'
    (root / 'sub').mkdir(parents=True)
    for i in range(images):
        Image.new('RGB', (8, 8)).save(root / f'sub/{i}.png')
        (root / f'sub/{i}.xml').write_text(
            f'<annotation><object><name>{names[i % len(names)]}</name>{box}</object></annotation>'
        )
    return root


def write_yolo(root, splits, names='ant, bee, cow'):
    """YOLO: images without any object."""
    for split in splits:
        for folder in ('images', 'labels'):
            (root / folder / split).mkdir(parents=True)
        Image.new('RGB', (8, 8)).save(root / f'images/{split}/a.png')
        (root / f'labels/{split}/a.txt').touch()
    lines = [f'{split}: images/{split}' for split in splits]
    (root / 'data.yaml').write_text('\n'.join([*lines, f'names: [{names}]']))
    return root / 'data.yaml'


def test_yolo_brings_its_validation_images(data, tmp_path):
    file = write_yolo(tmp_path / 'yolo', ('train', 'val'))
    cfg, _ = put(OwnData(file, file, data.unlabeled), work_dir=tmp_path / 'run')
    labeled = cfg.train_dataloader.dataset.datasets[0]
    assert labeled.ann_file == str(tmp_path / 'run/labels/train.json')
    assert labeled.data_prefix.img == f'{tmp_path}/yolo/images/train/'
    assert cfg.val_evaluator.ann_file == str(tmp_path / 'run/labels/val.json')
    assert cfg.val_dataloader.dataset.data_prefix.img == f'{tmp_path}/yolo/images/val/'
    assert cfg.model.detector.roi_head.bbox_head.num_classes == 3
    # Others that are given count, and the folder of images is theirs.
    given = OwnData(file, data.images, data.unlabeled, data.val)
    cfg, _ = put(given, work_dir=tmp_path / 'run')
    assert cfg.val_evaluator.ann_file == str(data.val)
    assert cfg.val_dataloader.dataset.data_prefix.img == f'{data.images}/'


def test_voc_is_parted(data, tmp_path):
    root = write_voc(tmp_path / 'voc', 10)
    cfg, _ = put(OwnData(root, root, data.unlabeled), work_dir=tmp_path / 'run')
    labeled = cfg.train_dataloader.dataset.datasets[0]
    assert (labeled.ann_file, labeled.metainfo.classes) == (
        str(tmp_path / 'run/labeled.json'),
        ('sheep',),
    )
    prefixes = [labeled.data_prefix.img, cfg.val_dataloader.dataset.data_prefix.img]
    assert prefixes == [f'{root}/sub/'] * 2
    counts = [
        len(json.loads((tmp_path / f'run/{name}.json').read_text())['annotations'])
        for name in ('labeled', 'val')
    ]
    assert counts == [8, 2]


@pytest.mark.parametrize('split', ['val', 'train'])
def test_validation_images_in_another_format(data, tmp_path, split):
    # Of a data set that has them, or of one that is not split.
    splits = (split,) if split == 'train' else ('train', split)
    file = write_yolo(tmp_path / 'yolo', splits, 'dog, cat')
    cfg, _ = put(
        OwnData(data.labeled, data.images, data.unlabeled, file), work_dir=tmp_path / 'run'
    )
    assert cfg.train_dataloader.dataset.datasets[0].ann_file == str(data.labeled)
    assert cfg.val_evaluator.ann_file == str(tmp_path / f'run/val_labels/{split}.json')
    assert cfg.val_dataloader.dataset.data_prefix.img == f'{tmp_path}/yolo/images/{split}/'


@pytest.mark.parametrize('kind', ['json', 'voc', 'yolo'])
def test_validation_images_without_a_class(data, tmp_path, kind):
    """Sheep alone, whatever else there is to learn and in whatever order."""
    val = write_voc(tmp_path / 'voc', 2)
    labeled = write_coco(tmp_path / 'three.json', 4, ('dog', 'sheep', 'cat'))
    if kind == 'yolo':
        labeled = write_yolo(tmp_path / 'yolo', ('train',), 'dog, sheep, cat')
    elif kind == 'voc':
        labeled = write_voc(tmp_path / 'more', 3, ('sheep', 'ant', 'cow'))
    cfg, _ = put(OwnData(labeled, data.images, data.unlabeled, val), work_dir=tmp_path / 'run')
    classes = cfg.train_dataloader.dataset.datasets[0].metainfo.classes
    assert len(classes) == 3
    content = json.loads((tmp_path / 'run/val_labels/train.json').read_text())
    assert tuple(category['name'] for category in content['categories']) == classes
    places = {annotation['category_id'] for annotation in content['annotations']}
    assert places == {classes.index('sheep') + 1}
