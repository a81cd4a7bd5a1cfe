"""The COCO recipe from the split to the test, with its real config on a COCO of thirty images."""

import json
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from mmdet.datasets import CocoDataset
from PIL import Image

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / 'configs/mt_fasterrcnn_coco10pct.py'
WORK_DIR = 'work_dirs/mt_fasterrcnn_coco10pct'
SPLITS = 'data/coco/annotations/semi_supervised'
# COCO's own category ids go from 1 to 90 and leave these out.
NO_CATEGORY = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}

SIZES = [
    # Images of about 80 x 64 pixels.
    'train_dataloader.dataset.datasets.0.pipeline.2.transforms.0.scale=[(64,48),(128,96)]',
    'train_dataloader.dataset.datasets.1.pipeline.1.weak.0.scale=[(64,48),(128,96)]',
    'train_dataloader.dataset.datasets.1.pipeline.1.strong.0.scale=[(64,48),(128,96)]',
    'val_dataloader.dataset.pipeline.1.scale=(96,64)',
    'test_dataloader.dataset.pipeline.1.scale=(96,64)',
    # All of the fifty layers, but narrow ones, and few proposals.
    'model.detector.backbone.base_channels=16',
    'model.detector.neck.in_channels=[64,128,256,512]',
    'model.detector.roi_head.bbox_head.fc_out_channels=64',
    'model.detector.train_cfg.rpn_proposal.max_per_img=50',
    'model.detector.train_cfg.rcnn.sampler.num=32',
    'model.detector.test_cfg.rpn.max_per_img=50',
    # What four iterations have learned has low scores; COCO counts them nevertheless.
    'model.detector.test_cfg.rcnn.score_thr=0.0',
    *(f'{part}_dataloader.num_workers=0' for part in ('train', 'val', 'test')),
    *(f'{part}_dataloader.persistent_workers=False' for part in ('train', 'val', 'test')),
]
ITERATIONS = [
    'train_cfg.max_iters=4',
    'train_cfg.val_interval=2',
    'default_hooks.teacher.burn_in=1',
    'default_hooks.checkpoint.interval=2',
    'default_hooks.logger.interval=1',
    'param_scheduler.0.start_factor=1',
    'randomness.seed=0',
]
WEIGHTS = ['model.detector.backbone.init_cfg=None']
OPTIONS = ['--cfg-options', *SIZES, *ITERATIONS, *WEIGHTS]


def make_part(root, part, count):
    """Noise with one large bright rectangle, a person, in each image."""
    rng = np.random.default_rng(count)
    ids = [i for i in range(1, 91) if i not in NO_CATEGORY]
    names = CocoDataset.METAINFO['classes']
    categories = [{'id': i, 'name': name} for i, name in zip(ids, names, strict=True)]
    images, annotations = [], []
    (root / part).mkdir(parents=True)
    for number in range(1, count + 1):
        width, height = (int(n) for n in rng.integers((76, 60), (84, 68)))
        pixels = rng.integers(0, 100, (height, width, 3), dtype=np.uint8)
        x, y = (int(n) for n in rng.integers(2, 16, 2))
        w, h = (int(n) for n in rng.integers((44, 30), (60, 44)))
        pixels[y : y + h, x : x + w] += 100
        name = f'{number:012d}.jpg'
        Image.fromarray(pixels).save(root / part / name)
        images.append({'id': number, 'file_name': name, 'width': width, 'height': height})
        annotations.append(
            {
                'id': number,
                'image_id': number,
                'category_id': 1,
                'bbox': [x, y, w, h],
                'area': w * h,
                'iscrowd': 0,
            }
        )
    (root / 'annotations').mkdir(exist_ok=True)
    content = {'images': images, 'annotations': annotations, 'categories': categories}
    (root / f'annotations/instances_{part}.json').write_text(json.dumps(content))


@pytest.fixture(scope='module')
def coco(bench):
    """``data/coco`` with its splits, as ``tools/split_coco.py`` makes them."""
    root = bench.place / 'data/coco'
    make_part(root, 'train2017', 24)
    make_part(root, 'val2017', 6)
    bench.python(ROOT / 'tools/split_coco.py', '--percent', 10, '--fold', 1, log='split.txt')
    return bench


def wait_for_checkpoint(process, work_dir, name, seconds=400):
    """Wait until a checkpoint is whole: then the run notes it as its last."""
    note = work_dir / 'last_checkpoint'
    end = time.monotonic() + seconds
    while not (note.exists() and note.read_text().endswith(name)):
        assert process.poll() is None, 'ended before its checkpoint'
        assert time.monotonic() < end, f'no {name} in {seconds} s'
        time.sleep(0.02)


@pytest.fixture(scope='module')
def resumed(coco):
    """What a run printed that was killed after its first checkpoint, and then resumed."""
    train = [ROOT / 'tools/train.py', CONFIG]
    killed = coco.start(sys.executable, *train, *OPTIONS, log='killed.txt')
    wait_for_checkpoint(killed, coco.place / WORK_DIR, 'iter_2.pth')
    killed.send_signal(signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL
    assert not (coco.place / WORK_DIR / 'summary.json').exists()
    return coco.python(*train, '--resume', *OPTIONS, log='resumed.txt')


@pytest.fixture(scope='module')
def tested(coco, resumed):
    """The scores that ``tools/test.py`` gives, of the teacher and of the student."""
    test = [ROOT / 'tools/test.py', CONFIG, f'{WORK_DIR}/iter_4.pth']
    scores = {}
    for who, choice in (('teacher', []), ('student', ['--model', 'student'])):
        options = [*OPTIONS, f'test_evaluator.outfile_prefix={who}', '--work-dir', f'tested/{who}']
        coco.python(*test, *choice, *options, log=f'{who}.txt')
        (file,) = (coco.place / 'tested' / who).glob('*/*.json')
        scores[who] = bbox_scores(json.loads(file.read_text()))
    return scores


def bbox_scores(row):
    return {key: value for key, value in row.items() if '/coco/bbox_mAP' in key}


def test_split(coco):
    def read(name):
        return json.loads((coco.place / SPLITS / f'instances_train2017.{name}.json').read_text())

    labeled, unlabeled = read('1@10'), read('1@10-unlabeled')
    ids, others = ({image['id'] for image in part['images']} for part in (labeled, unlabeled))
    # 10 % of 24 images, and all the others.
    assert len(ids) == 2
    assert ids | others == set(range(1, 25))
    assert not ids & others
    assert {annotation['image_id'] for annotation in labeled['annotations']} == ids
    # Trap: no label of an unlabelled image is in its file.
    assert unlabeled['annotations'] == []


def test_resume_goes_on_where_the_run_was_killed(resumed):
    assert 'resumed epoch: 0, iter: 2' in resumed
    # Iterations 3 and 4 and no other.
    assert 'Iter(train) [2/4]' not in resumed
    assert 'Iter(train) [3/4]' in resumed
    assert 'Iter(train) [4/4]' in resumed


def test_the_teacher_taught(resumed):
    (last,) = [line for line in resumed.splitlines() if 'Iter(train) [4/4]' in line]
    for name in ('sup', 'pseudo', 'consistency', 'pseudo_boxes'):
        assert f' {name}: ' in last, name
        assert f' {name}: -' not in last, name
    assert 'nan' not in last


def last_validation(bench):
    """The scores of the last validation in the log of the resumed run."""
    logs = sorted((bench.place / WORK_DIR).glob('*/vis_data/scalars.json'))
    assert len(logs) == 2
    rows = [json.loads(line) for line in logs[-1].read_text().splitlines()]
    return [bbox_scores(row) for row in rows if bbox_scores(row)][-1]


@pytest.mark.parametrize('who', ['teacher', 'student'])
def test_test_gives_the_last_validations_scores(coco, tested, who):
    validated = {k: v for k, v in last_validation(coco).items() if k.startswith(f'{who}/')}
    assert len(validated) == 6
    assert tested[who] == validated


def test_the_scores_could_have_been_others(coco, tested):
    # Or else a test of the wrong model would pass as well.
    assert max(tested['teacher'].values()) > 0 or max(tested['student'].values()) > 0
    boxes = [json.loads((coco.place / f'{who}.bbox.json').read_text()) for who in tested]
    assert boxes[0] != boxes[1]


def test_the_summary(coco, resumed):
    summary = json.loads((coco.place / WORK_DIR / 'summary.json').read_text())
    assert {'start_mAP', 'student_mAP', 'teacher_mAP', 'seconds'} <= set(summary)
    assert summary['iterations'] == 4
    assert summary['seed'] == 0
    validated = last_validation(coco)
    for who in ('student', 'teacher'):
        assert summary[f'{who}_mAP'] == pytest.approx(100 * validated[f'{who}/coco/bbox_mAP'])
    assert (coco.place / WORK_DIR / 'curves.png').is_file()
    assert (coco.place / WORK_DIR / 'detections.png').is_file()


@pytest.mark.parametrize('useless', [('--percent', 5), ('--fold', 2), ('--out-dir', 'x')])
def test_what_splits_nothing_has_no_split(call, capsys, useless):
    with pytest.raises(SystemExit):
        call('split_coco', '--unlabeled', 'a.json', *useless)
    assert '--unlabeled splits nothing; leave out' in capsys.readouterr().err
