"""A teacher as a plain mmdet detector, used where this package does not exist."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate
from mmengine.registry import init_default_scope
from mmengine.utils import import_modules_from_strings

import ssod
from ssod import publishing
from ssod.checkpoints import load_checkpoint
from ssod.config_parts import dicts_in, set_number_of_classes
from ssod.files import write_whole
from ssod.publishing import publish

ROOT = Path(__file__).parents[1]
IMAGES = [f'{number:06d}.png' for number in range(3)]
CLASSES = tuple('0123456789')
PALETTE = [(number, 0, 0) for number in range(10)]


def small(name, folder):
    """A config with the digits, whose boxes count whatever their scores."""
    file = ROOT / f'configs/{name}_digits10pct.py'
    own_data = not file.exists()
    cfg = Config.fromfile(ROOT / f'configs/{name}.py' if own_data else file)
    test_cfg = cfg.model.detector.test_cfg
    if 'score_thr' in test_cfg.get('rcnn', test_cfg):
        test_cfg.get('rcnn', test_cfg).score_thr = 0.0
    if own_data:
        set_number_of_classes(cfg.model, len(CLASSES))
    for part in ('val', 'test'):
        data_set = cfg[f'{part}_dataloader'].dataset
        data_set.data_root = f'{folder}/'
        if own_data:
            data_set.metainfo = dict(classes=CLASSES, palette=PALETTE)
            data_set.ann_file = 'annotations/val.json'
            data_set.data_prefix = dict(img='images/val/')
        cfg[f'{part}_evaluator'].ann_file = f'{folder}/annotations/val.json'
    return cfg


def save_run(cfg, path):
    """What a run writes: a teacher and a student that differ, and much that only training needs."""
    init_default_scope('mmdet')
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    for value in model.state_dict().values():
        if value.is_floating_point():
            # Until they are trained, some of DINO's are whatever lay in memory.
            value.nan_to_num_(0.0, 0.0, 0.0).clamp_(-10, 10)
        if value.dim() > 1:
            value += 0.1 * value.std() * torch.randn_like(value)
    meta = {'cfg': 'x = 1', 'iter': 2, 'dataset_meta': {'classes': CLASSES, 'palette': PALETTE}}
    state = model.state_dict()
    torch.save({'meta': meta, 'state_dict': state, 'optimizer': {}, 'message_hub': {}}, path)
    return model.eval()


def predictions(model, cfg, folder):
    """Boxes, scores and labels in each image, in pixels of its file."""
    prepare = Compose(cfg.test_dataloader.dataset.pipeline)
    found = []
    for name in IMAGES:
        data = prepare({'img_path': f'{folder}/images/val/{name}', 'img_id': 0})
        with torch.no_grad():
            boxes = model.test_step(pseudo_collate([data]))[0].pred_instances
        found.append([boxes.bboxes.tolist(), boxes.scores.tolist(), boxes.labels.tolist()])
    return found


# What each row proves:
PUBLISHED = [
    ('mt_fasterrcnn', 'teacher'),  # the main example
    ('mt_fasterrcnn', 'student'),  # the other one of the two
    ('unbiasedteacher_fasterrcnn', 'teacher'),  # a loss of ours is left out
    ('mt_twoheads_fasterrcnn', 'teacher'),  # of two classifiers the first one is kept
    ('denseteacher_fcos', 'teacher'),  # a dense detector, with preprocessor settings of its own
    ('mixpl_dino', 'teacher'),  # a transformer
    ('mt_fasterrcnn_small', 'teacher'),  # own data, and a network of torchvision that mmdet has
]


@pytest.fixture(scope='module')
def elsewhere(digits, tmp_path_factory):
    """What each of ``PUBLISHED`` finds where there is no ssod, and what it found in our model."""
    root = tmp_path_factory.mktemp('elsewhere')
    ours, jobs = [], []
    for name, whose in PUBLISHED:
        cfg = small(name, digits)
        place = root / f'{name}_{whose}'
        place.mkdir()
        model = save_run(cfg, place / 'iter_2.pth')
        with model.predicting_on(whose):
            ours.append((model, predictions(model, cfg, digits)))
        written = publish(cfg, place / 'iter_2.pth', whose=whose)
        assert written.needs == ()
        images = [f'{digits}/images/val/{image}' for image in IMAGES]
        jobs.append([str(written.config), str(written.checkpoint), images])
    # As many threads, for they share out sums.
    env = {**os.environ, 'OMP_NUM_THREADS': str(torch.get_num_threads())}
    command = [sys.executable, ROOT / 'tests/without_ssod.py', ROOT / 'ssod/ops', json.dumps(jobs)]
    done = subprocess.run(command, cwd=root, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-5000:]
    return list(zip(ours, json.loads(done.stdout), jobs, strict=True))


@pytest.mark.parametrize('row', range(len(PUBLISHED)), ids=['-'.join(row) for row in PUBLISHED])
def test_it_predicts_the_same_without_this_package(elsewhere, row):
    (model, found), told, _ = elsewhere[row]
    assert all(len(scores) > 3 for _, scores, _ in found)
    if PUBLISHED[row][0] == 'mt_twoheads_fasterrcnn':
        # A product of smaller matrices is rounded otherwise.
        found = [[pytest.approx(np.array(x), rel=1e-4) for x in image] for image in found]
    assert told['init_detector'] == found
    assert told['DetInferencer'] == found
    whose = model.get_submodule(PUBLISHED[row][1])
    assert len(told['keys']) == len(whose.state_dict())
    # mmdet has names of its own for the weights of torchvision's network.
    renamed = {key.split('.')[0] for key in {*told['keys']} - {*whose.state_dict()}}
    assert renamed == ({'backbone'} if PUBLISHED[row][0] == 'mt_fasterrcnn_small' else set())
    # Its own data and evaluator work too.
    assert 'coco/bbox_mAP' in told['scores']


def test_teacher_and_student_differ(elsewhere):
    assert elsewhere[0][0][1] != elsewhere[1][0][1]


def test_nothing_of_the_training_is_left(elsewhere):
    for _, told, (config, checkpoint, _) in elsewhere:
        content = torch.load(checkpoint, weights_only=True)
        assert content.keys() == {'meta', 'state_dict'}
        assert content['meta'] == {'dataset_meta': {'classes': CLASSES, 'palette': PALETTE}}
        assert sorted(content['state_dict']) == told['keys']
        assert told['meta'] == {
            'classes': list(CLASSES),
            'palette': [list(colour) for colour in PALETTE],
        }
        text = Path(config).read_text()
        assert 'ssod' not in text
        names = {*Config.fromfile(config)}
        assert names == {
            'default_scope',
            'model',
            'visualizer',
            *(f'{p}_{q}' for p in ('val', 'test') for q in ('cfg', 'dataloader', 'evaluator')),
        }


@pytest.fixture
def run(digits, tmp_path):
    """The main example's config and its checkpoint."""
    cfg = small('mt_fasterrcnn', digits)
    save_run(cfg, tmp_path / 'iter_2.pth')
    return cfg, tmp_path / 'iter_2.pth'


def test_pretrained_weights_are_not_asked_for(run):
    cfg, checkpoint = run
    backbone = cfg.model.detector.backbone
    backbone.init_cfg = dict(type='Pretrained', checkpoint='torchvision://resnet18')
    normal = dict(type='Normal', layer='Conv2d', std=0.01)
    cfg.model.detector.neck.init_cfg = [normal, dict(type='Pretrained', checkpoint='x.pth')]
    published = Config.fromfile(publish(cfg, checkpoint).config).model
    assert not any('Pretrained' in str(part.get('type')) for part in dicts_in(published))
    assert published.neck.init_cfg == [normal]
    # The caller's config is left as it was.
    assert backbone.init_cfg.type == 'Pretrained'
    assert cfg.test_dataloader.dataset.type == 'DigitsDataset'


def test_a_class_that_mmdet_has_not_is_imported_and_told(digits, tmp_path):
    cfg = small('consistentteacher_retinanet', digits)
    save_run(cfg, tmp_path / 'iter_2.pth')
    written = publish(cfg, tmp_path / 'iter_2.pth', tmp_path / 'out')
    assert written.needs == ('ssod.recipes.consistent_teacher.FAM3DHead',)
    published = Config.fromfile(written.config)
    assert published.custom_imports == dict(imports=['ssod'], allow_failed_imports=False)
    # Our assigner is only asked for when it learns.
    assert published.model.train_cfg is None
    detector = MODELS.build(published.model)
    detector.load_state_dict(load_checkpoint(written.checkpoint)['state_dict'])


@pytest.mark.parametrize('kind', ['ForeignNeck', 'plugged.ForeignNeck'])
def test_a_plug_in_that_registers_anothers_class_is_imported(digits, tmp_path, monkeypatch, kind):
    scope = kind.rpartition('.')[0]
    registry = f"Registry('model', parent=MODELS.parent, scope='{scope}')" if scope else 'MODELS'
    (tmp_path / f'foreign{scope}.py').write_text(
        'from mmdet.models import FPN\nclass ForeignNeck(FPN): ...\n'
    )
    (tmp_path / f'plug_in{scope}.py').write_text(
        f'from mmdet.registry import MODELS\nfrom mmengine.registry import Registry\n'
        f'from foreign{scope} import ForeignNeck\n'
        f'{registry}.register_module(module=ForeignNeck)\n'
    )
    monkeypatch.syspath_prepend(tmp_path)
    cfg = small('mt_fasterrcnn', digits)
    imports = ['json', f'plug_in{scope}']
    cfg = Config(dict(cfg, custom_imports=dict(imports=imports)), filename=cfg.filename)
    import_modules_from_strings(**cfg.custom_imports)
    cfg.model.detector.neck.type = kind
    save_run(cfg, tmp_path / 'iter_2.pth')
    written = publish(cfg, tmp_path / 'iter_2.pth')
    assert written.needs == (f'foreign{scope}.ForeignNeck',)
    assert Config.fromfile(written.config).custom_imports.imports == imports


def test_a_torchvision_backbone_keeps_its_network_but_names_no_weights(digits, tmp_path):
    cfg = small('mt_fasterrcnn', digits)
    cfg.model.detector.backbone = dict(
        type='TorchvisionBackbone', arch='mobilenet_v3_small', weights='DEFAULT'
    )
    cfg.model.detector.neck.in_channels = [24, 48, 576]
    save_run(cfg, tmp_path / 'iter_2.pth')
    written = publish(cfg, tmp_path / 'iter_2.pth')
    assert written.needs == ('ssod.models.torchvision_backbone.TorchvisionBackbone',)
    assert Config.fromfile(written.config).model.backbone == dict(
        type='TorchvisionBackbone', arch='mobilenet_v3_small'
    )


@pytest.mark.parametrize(
    ('classes', 'colours'),
    [
        (('cat', 'dog'), 2),  # two of COCO's eighty colours are theirs
        (tuple(f'kind {number}' for number in range(90)), 90),  # more than COCO has
    ],
)
def test_own_classes_are_named_with_a_colour_each(run, classes, colours):
    cfg, path = run
    cfg.test_dataloader.dataset = dict(
        type='CocoDataset',
        metainfo=dict(classes=classes),
        pipeline=cfg.test_dataloader.dataset.pipeline,
    )
    set_number_of_classes(cfg.model.detector.roi_head, len(classes))
    torch.save({'state_dict': save_run(cfg, path).state_dict()}, path)
    written = publish(cfg, path)
    meta = torch.load(written.checkpoint, weights_only=True)['meta']['dataset_meta']
    assert meta['classes'] == classes
    assert len(meta['palette']) == colours
    assert Config.fromfile(written.config).test_dataloader.dataset.metainfo == meta


def test_cocos_own_classes_are_not_listed(run):
    cfg, path = run
    for part in ('val', 'test'):
        pipeline = cfg[f'{part}_dataloader'].dataset.pipeline
        cfg[f'{part}_dataloader'].dataset = dict(type='CocoDataset', pipeline=pipeline)
    set_number_of_classes(cfg.model.detector.roi_head, 80)
    torch.save({'state_dict': save_run(cfg, path).state_dict()}, path)
    assert 'metainfo' not in publish(cfg, path).config.read_text()


def test_again(run):
    cfg, checkpoint = run
    first = publish(cfg, checkpoint)
    assert first.config == checkpoint.parent / 'published/mt_fasterrcnn_digits10pct.py'
    assert first.checkpoint == first.config.with_suffix('.pth')
    # The same again is no change.
    assert publish(cfg, checkpoint) == first
    before = first.config.read_bytes()
    with pytest.raises(
        FileExistsError, match=r'published/.*\.py exists with other content; .*--over'
    ):
        publish(cfg, checkpoint, whose='student')
    # None is written if one may not be.
    first.config.unlink()
    with pytest.raises(FileExistsError, match=r'published/.*\.pth exists'):
        publish(cfg, checkpoint, whose='student')
    assert not first.config.exists()
    publish(cfg, checkpoint, whose='student', overwrite=True)
    assert first.config.read_bytes() != before


def test_a_disk_without_room_for_the_checkpoint_changes_nothing(run, monkeypatch):
    cfg, checkpoint = run
    first = publish(cfg, checkpoint)
    before = [path.read_bytes() for path in (first.config, first.checkpoint)]

    def full(path, content):
        if len(content) > 100_000:
            raise OSError(errno.ENOSPC, 'No space left on device', str(path))
        write_whole(path, content)

    monkeypatch.setattr(publishing, 'write_whole', full)
    with pytest.raises(OSError, match=r'No space left on device: .*\.pth'):
        publish(cfg, checkpoint, whose='student', overwrite=True)
    assert [path.read_bytes() for path in (first.config, first.checkpoint)] == before


# What each row proves:
@pytest.mark.parametrize(
    ('name', 'told'),
    [
        ('mine', r'mine\.py belongs to the run itself'),  # the config that the run wrote
        ('iter_2', r'iter_2\.pth belongs to the run itself'),  # a checkpoint called as the config
    ],
)
def test_the_run_itself_is_not_replaced(run, tmp_path, name, told):
    cfg, checkpoint = run
    place = tmp_path if name == 'mine' else tmp_path / 'elsewhere'
    place.mkdir(exist_ok=True)
    cfg.dump(place / f'{name}.py')
    before = checkpoint.read_bytes()
    with pytest.raises(ValueError, match=told):
        ssod.publish(place / f'{name}.py', checkpoint, tmp_path, overwrite=True)
    assert checkpoint.read_bytes() == before
    assert 'detector' in Config.fromfile(place / f'{name}.py').model


def test_what_is_plain_already_is_refused(run):
    cfg, checkpoint = run
    written = publish(cfg, checkpoint)
    plain = Config.fromfile(written.config)
    with pytest.raises(
        ValueError, match=r'digits10pct\.py: FasterRCNN is a plain detector already'
    ):
        publish(plain, written.checkpoint)
    with pytest.raises(ValueError, match=r'digits10pct\.pth is of a plain detector already'):
        publish(cfg, written.checkpoint)
    with pytest.raises(ValueError, match=r'x\.py: has no model; give the complete config'):
        publish(Config({'x': 1}, 'x = 1', 'x.py'), checkpoint)


def test_what_does_not_go_together_is_refused(run):
    cfg, path = run
    content = torch.load(path, weights_only=True)
    cfg.model.detector.neck.out_channels = 32
    with pytest.raises(ValueError, match=r'iter_2\.pth is of another detector: size mismatch for'):
        publish(cfg, path)
    content['meta']['dataset_meta']['classes'] = ('cat', 'dog', 'cow', 'hen')
    torch.save(content, path)
    with pytest.raises(ValueError, match=r'on cat, dog, cow, hen, but test_dataloader.*0, 1'):
        publish(cfg, path)
    content['state_dict'] = {k: v for k, v in content['state_dict'].items() if 'teacher' not in k}
    content['meta']['dataset_meta']['classes'] = CLASSES
    torch.save(content, path)
    with pytest.raises(ValueError, match=r'iter_2\.pth has no teacher; use'):
        publish(cfg, path)
    cfg.test_dataloader, cfg.val_dataloader = None, None
    with pytest.raises(ValueError, match='neither test_dataloader nor val_dataloader has'):
        publish(cfg, path)
    assert os.listdir(path.parent) == [path.name]


def test_the_verb(run, tmp_path):
    cfg, checkpoint = run
    cfg.dump(tmp_path / 'mine.py')
    written = ssod.publish(tmp_path / 'mine.py', checkpoint, tmp_path / 'to', model='student')
    assert written.config == tmp_path / 'to/mine.py'
    state = load_checkpoint(written.checkpoint)['state_dict']
    trained = load_checkpoint(checkpoint)['state_dict']
    assert all(value.equal(trained[f'student.{key}']) for key, value in state.items())
    with pytest.raises(FileNotFoundError, match=r'no\.pth does not exist'):
        ssod.publish(tmp_path / 'mine.py', tmp_path / 'no.pth')
    with pytest.raises(AttributeError, match="'ssod' has no attribute 'publsih'"):
        ssod.publsih  # noqa: B018
