"""What ``tools/train.py`` and ``tools/test.py`` say of mistakes, and mmdet's own training tool."""

import sys
from pathlib import Path

import mmdet
import pytest
import torch
from mmengine.config import Config
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from ssod import runs
from ssod.checkpoints import load_checkpoint

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / 'configs/mt_fasterrcnn_digits10pct.py'
SCENES = {'train_images': 20, 'val_images': 2}


@pytest.fixture
def bare(monkeypatch):
    """Neither a GPU nor other places to log to."""
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    monkeypatch.setattr(runs, 'find_spec', lambda name: None)


@pytest.mark.usefixtures('bare')
@pytest.mark.parametrize(
    ('tool', 'arguments', 'message'),
    [
        # A file is missing: the message names it.
        ('train', ['missing.py'], 'config missing.py does not exist'),
        ('test', ['missing.py', 'x.pth'], 'config missing.py does not exist'),
        ('train', [CONFIG, '--resume', 'no.pth'], 'checkpoint no.pth does not exist'),
        ('test', [CONFIG, 'no.pth'], 'no.pth: the file does not exist'),
        ('train', [CONFIG, '--cfg-options', 'load_from=no.pth'], 'no.pth: the file does not exist'),
        # A setting of ours is misspelt or wrong: the message names it.
        (
            'train',
            [CONFIG, '--cfg-options', 'default_hooks.teacher.burnin=9'],
            "EMATeacherHook: unknown setting 'burnin'; did you mean 'burn_in'?",
        ),
        (
            'train',
            [CONFIG, '--cfg-options', 'default_hooks.teacher.decay.decay=0.001'],
            'EMATeacherHook: decay is 0.001',
        ),
        # What the config or the machine cannot do.
        (
            'train',
            [CONFIG, '--tensorboard'],
            'tensorboard is not installed; pip install tensorboard',
        ),
        (
            'train',
            [CONFIG, '--wandb'],
            'wandb is not installed; pip install wandb, or leave out --',
        ),
        (
            'train',
            [CONFIG, '--mlflow'],
            'mlflow is not installed; pip install mlflow, or leave out',
        ),
        ('train', ['plain.py', '--auto-scale-lr'], 'auto_scale_lr.base_batch_size is missing'),
        # Data that is not there: mmdet's own error names the file.
        ('train', [ROOT / 'configs/mt_fasterrcnn_coco10pct.py'], 'instances_train2017.1@10.json'),
    ],
)
def test_a_mistake_is_told_in_one_line(
    call, monkeypatch, capsys, tmp_path, tool, arguments, message
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'plain.py').write_text(
        f"_base_ = '{CONFIG}'\nauto_scale_lr = dict(_delete_=True)\n"
    )
    with pytest.raises(SystemExit) as left:
        call(tool, *arguments)
    assert left.value.code == 1
    # What comes before it is the log.
    printed = capsys.readouterr().err.splitlines()
    assert [line.startswith('error: ') for line in printed].index(True) == len(printed) - 1
    assert message in printed[-1]


TOOLS = 'train test check_data browse_views pseudo_label study compare benchmark'


@pytest.mark.parametrize('tool', TOOLS.split())
def test_an_option_without_a_value(call, capsys, tool):
    with pytest.raises(SystemExit) as left:
        call(tool, CONFIG, 'x.pth', '--cfg-options', 'work_dir')
    assert left.value.code == 2
    told = "error: argument --cfg-options: 'work_dir' is not of the form KEY=VALUE"
    assert told in capsys.readouterr().err.splitlines()[-1]


def test_a_mistake_in_a_process_of_its_own(bench):
    command = [sys.executable, ROOT / 'tools/train.py', 'missing.py']
    process = bench.start(*command, log='mistake.txt')
    assert process.wait() == 1
    printed = (bench.place / 'mistake.txt').read_text()
    assert 'error: config missing.py does not exist' in printed
    assert 'Traceback' not in printed


def test_mmdets_own_tool_trains_our_configs(bench):
    script = Path(mmdet.__file__).parent / '.mim/tools/train.py'
    options = [
        'train_cfg.max_iters=2',
        'train_cfg.val_interval=2',
        'train_dataloader.batch_size=4',
        'train_dataloader.num_workers=0',
        'train_dataloader.persistent_workers=False',
        'default_hooks.teacher.burn_in=1',
        'default_hooks.logger.interval=1',
    ]
    for dataset in (
        'train_dataloader.dataset.datasets.0',
        'train_dataloader.dataset.datasets.1',
        'val_dataloader.dataset',
    ):
        options += [f'{dataset}.scenes.{key}={value}' for key, value in SCENES.items()]
    printed = bench.python(script, CONFIG, '--cfg-options', *options, log='mmdet.txt')
    (taught,) = [line for line in printed.splitlines() if 'Iter(train) [2/2]' in line]
    assert ' pseudo: ' in taught
    assert '  teacher_mAP: ' in printed
    assert (bench.place / f'work_dirs/{CONFIG.stem}/summary.json').is_file()


def test_any_detector_from_the_command_line(bench, digits):
    # An mmdet config of one's own, so small that it trains at once; as it starts from no weights.
    (bench.place / 'small_retinanet.py').write_text(
        "_base_ = 'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py'\n"
        'backbone = dict(depth=18, base_channels=16, init_cfg=None)\n'
        'neck = dict(in_channels=[16, 32, 64, 128], out_channels=64)\n'
        'head = dict(in_channels=64, feat_channels=64, stacked_convs=1)\n'
        'model = dict(backbone=backbone, neck=neck, bbox_head=head)\n'
    )
    options = ['train_cfg.max_iters=1', 'train_dataloader.num_workers=0']
    options += ['train_dataloader.persistent_workers=False', 'default_hooks.teacher.burn_in=0']
    options += ['default_hooks.checkpoint.interval=1', 'default_hooks.quality.ann_file=None']
    options += ['val_cfg=None', 'val_dataloader=None', 'val_evaluator=None']
    options += ['test_cfg=None', 'test_dataloader=None', 'test_evaluator=None']
    for number in (0, 1):
        options.append(f'train_dataloader.dataset.datasets.{number}.data_root={digits}')
        for split, count in {'train_images': 20, 'val_images': 4}.items():
            place = f'train_dataloader.dataset.datasets.{number}.scenes'
            options.append(f'{place}.{split}={count}')
    detector = ['--detector', 'small_retinanet.py']
    config = ROOT / 'configs/mt_any_digits10pct.py'
    command = [ROOT / 'tools/train.py', config, *detector]
    printed = bench.python(*command, '--cfg-options', *options, log='any.txt')
    assert 'RetinaNet of small_retinanet.py: images of 96×96' in printed
    place = bench.place / 'work_dirs/mt_any_digits10pct-small_retinanet'
    state = load_checkpoint(place / 'iter_1.pth')['state_dict']
    assert state['student.bbox_head.retina_cls.weight'].shape[:2] == (90, 64)
    # The whole config is beside it, for tools/test.py.
    kept = Config.fromfile(place / 'mt_any_digits10pct.py')
    assert kept.model.detector.type == 'RetinaNet'


def test_own_data_from_the_command_line(bench, digits):
    # Labelled scenes, of which a fifth is scored, and all pictures of a folder.
    settings = ['train_cfg.max_iters=2', 'train_cfg.val_interval=2', 'param_scheduler=[]']
    settings += ['default_hooks.teacher.burn_in=1', 'train_dataloader.num_workers=0']
    settings += ['train_dataloader.persistent_workers=False', 'default_hooks.logger.interval=1']
    printed = bench.python(
        ROOT / 'tools/train.py',
        CONFIG,
        '--labeled',
        digits / 'annotations/val.json',
        '--images',
        digits / 'images/val',
        '--unlabeled',
        digits / 'images/train',
        '--work-dir',
        'own',
        '--tensorboard',
        '--cfg-options',
        *settings,
        log='own.txt',
    )
    assert '1 of the 4 labelled images are set aside' in printed
    assert 'with so few, mAP varies by points' in printed
    # The config is fitted to them: what the user gives stays, and the burn-in too.
    assert ' - image size 96×96: 95% of the labelled images are no larger\n' in printed
    assert " - iterations 2: the config's schedule for 1,500 is scaled to that\n" in printed
    state = load_checkpoint(bench.place / 'own/iter_2.pth')
    assert state['meta']['iter'] == 2
    cfg = Config.fromfile(bench.place / 'own/mt_fasterrcnn_digits10pct.py')
    assert cfg.train_dataloader.dataset.datasets[1].type == 'UnlabeledFolder'
    # Two iterations are one interval.
    assert cfg.default_hooks.checkpoint.interval == 2
    assert len(cfg.fitted) == 6
    (events,) = (bench.place / 'own').glob('*/vis_data/events.out.tfevents.*')
    found = EventAccumulator(str(events))
    found.Reload()
    assert {'loss', 'pseudo_boxes', 'teacher/coco/bbox_mAP'} <= set(found.Tags()['scalars'])


def test_a_config_that_is_not_fitted(call, monkeypatch, digits):
    loaded = []
    monkeypatch.setattr(runs, 'build_runner', lambda cfg: loaded.append(cfg) or sys.exit())
    own = ['--labeled', digits / 'annotations/val.json', '--images', digits / 'images/val']
    own += ['--unlabeled', digits / 'images/train', '--val', digits / 'annotations/val.json']
    with pytest.raises(SystemExit):
        call('train', CONFIG, *own, '--no-fit')
    assert 'fitted' not in loaded[0]


def test_mixed_precision(call, monkeypatch):
    loaded = []
    monkeypatch.setattr(runs, 'build_runner', lambda cfg: loaded.append(cfg) or sys.exit())
    with pytest.raises(SystemExit):
        call('train', CONFIG, '--amp')
    assert loaded[0].optim_wrapper.type == 'Bfloat16OptimWrapper'
