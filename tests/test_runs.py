"""From a config file and the choices of the command line to a run."""

import copy
import sys
import types
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner

from ssod import runs
from ssod.data.load_image import LoadImage
from ssod.own_data import OwnData

CONFIG = Path(__file__).parents[1] / 'configs/mt_fasterrcnn_digits10pct.py'


@pytest.fixture(params=[True, False], ids=['gpu', 'no_gpu'])
def gpu(request, monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: request.param)
    return request.param


def test_wrong_syntax_of_a_base_is_told(tmp_path):
    (tmp_path / 'base.py').write_text('a = 1\nmodel = dict(type="x"\n')
    (tmp_path / 'mine.py').write_text('_base_ = "./base.py"\n')
    message = (
        r"mine\.py, or one that it is based on: .* in line 2, 'model = dict\(type=\"x\"'; corr"
    )
    with pytest.raises(ValueError, match=message):
        runs.load_config(tmp_path / 'mine.py')


def test_what_is_no_config_is_told(tmp_path):
    (tmp_path / 'x.pth').touch()
    with pytest.raises(
        ValueError, match=r'x\.pth is not a config by its name.*\.py.*; if you also'
    ):
        runs.load_config(tmp_path / 'x.pth')


def test_the_work_dir(tmp_path):
    # The command line, then the config, then the config's name.
    own = tmp_path / 'own.py'
    own.write_text(f"_base_ = '{CONFIG}'\nwork_dir = 'here'\n")
    assert runs.load_config(own, work_dir='there').work_dir == 'there'
    assert runs.load_config(own, work_dir=Path('there')).work_dir == 'there'
    assert runs.load_config(own).work_dir == 'here'
    # Data that lie in it are found by how their paths begin.
    assert runs.load_config(own, work_dir='./over//there/').work_dir == 'over/there'
    assert runs.load_config(own, work_dir='.').work_dir == str(Path.cwd())
    assert runs.load_config(CONFIG).work_dir == 'work_dirs/mt_fasterrcnn_digits10pct'


def test_options_replace_the_configs_values():
    cfg = runs.load_config(CONFIG, options={'train_dataloader.dataset.datasets.1.data_root': 'x'})
    labeled, unlabeled = cfg.train_dataloader.dataset.datasets
    assert unlabeled.data_root == 'x'
    assert labeled.data_root == 'data/digits/'


def test_paths_among_the_options(tmp_path):
    source = {'type': 'UnlabeledFolder', 'data_root': Path('photos')}
    own = {'files': [Path('a'), (Path('b'), 2)]}
    options = {'load_from': Path('best.pth'), 'custom_hooks': [source, own]}
    cfg = runs.load_config(CONFIG, options=options)
    cfg.dump(tmp_path / 'dumped.py')
    # As texts they can be read again.
    again = Config.fromfile(tmp_path / 'dumped.py')
    assert again.load_from == cfg.load_from == 'best.pth'
    source, own = again.custom_hooks
    assert (source.data_root, own.files) == ('photos', ['a', ('b', 2)])


def test_no_workers_are_kept_where_there_are_none():
    loaders = ('train_dataloader', 'val_dataloader', 'test_dataloader')
    coco = CONFIG.with_name('mt_fasterrcnn_coco10pct.py')
    for asked in loaders:
        cfg = runs.load_config(coco, options={f'{asked}.num_workers': 0})
        assert [cfg[name].persistent_workers for name in loaders] == [n != asked for n in loaders]
    # A published config has no training.
    options = {f'{name}.num_workers': 0 for name in loaders} | {'train_dataloader': None}
    cfg = runs.load_config(coco, options=options)
    assert (cfg.train_dataloader, cfg.val_dataloader.persistent_workers) == (None, False)


@pytest.mark.parametrize(
    ('options', 'why'),
    [
        ({'param_scheduler.9.begin': 1}, 'cannot set param_scheduler.9.begin: Index 9 exceeds'),
        ({'work_dir.x': 1}, 'cannot set work_dir.x: .*work_dir is a dict in the child config'),
    ],
)
def test_options_that_lead_nowhere(options, why, tmp_path):
    own = tmp_path / 'own.py'
    own.write_text(f"_base_ = '{CONFIG}'\nwork_dir = 'here'\n")
    with pytest.raises(ValueError, match=why) as error:
        runs.load_config(own, options=options)
    assert len(str(error.value)) < 400


@pytest.mark.parametrize('part', ['default_hooks', 'optim_wrapper', 'test_cfg'])
def test_a_part_that_is_no_dict(part, digits, tmp_path):
    """It is told before own data, options of the command line or a model to score change it."""
    own = tmp_path / 'own.py'
    own.write_text(f"_base_ = '{CONFIG.resolve()}'\n{part} = 5\n")
    told = f'^{{}}: {part} is 5, but must be a dict$'
    for file, options in ((own, {}), (CONFIG, {part: 5})):
        with pytest.raises(ValueError, match=told.format(file)):
            runs.load_config(file, tmp_path, options)
    data = OwnData(digits / 'annotations/labeled.json', digits / 'images', digits / 'images')
    with pytest.raises(ValueError, match=told.format(own)):
        runs.load_config(own, tmp_path, data=data)


def test_options_are_looked_at_before_a_config_is_fitted_by_them(digits, tmp_path):
    labels = digits / 'annotations/labeled.json'
    data = OwnData(labels, digits / 'images', digits / 'images', val=labels)
    for name, value in (('batch_size', 0), ('batch_size', 'auto')):
        options = {f'train_dataloader.{name}': value}
        with pytest.raises(ValueError, match=f'{name} is {value!r}, but must be a whole number'):
            runs.load_config(CONFIG, tmp_path, options, data=data)


@pytest.mark.parametrize('launcher', ['pytorch', 'slurm'])
def test_several_processes(gpu, launcher):
    # Without GPUs there are no ids of devices to give to the ranks' models.
    cfg = runs.load_config(CONFIG, launcher=launcher)
    assert cfg.launcher == launcher
    assert ('model_wrapper_cfg' in cfg) is not gpu


def test_one_process_has_no_wrapper(gpu):
    assert 'model_wrapper_cfg' not in runs.load_config(CONFIG)


def test_ranks_on_a_cpu_wait_as_long_as_others(digits_cfg, monkeypatch):
    waits = []
    monkeypatch.setattr(runs, 'init_process_group', lambda kind, timeout: waits.append(timeout))
    monkeypatch.setattr(runs, '_leave_group', lambda: None)
    monkeypatch.setattr(runs._Runner, 'from_cfg', lambda cfg: (_ for _ in ()).throw(Found))
    digits_cfg.launcher = 'pytorch'
    for wanted in (runs.TIMEOUT, 7200):
        with pytest.raises(Found):
            runs.build_runner(copy.deepcopy(digits_cfg))
        assert waits.pop().total_seconds() == wanted
        digits_cfg.env_cfg = dict(dist_cfg=dict(backend='nccl', timeout=7200))


class Found(Exception):
    pass


@pytest.fixture
def all_installed(monkeypatch):
    monkeypatch.setattr(runs, 'find_spec', lambda name: name)
    monkeypatch.delenv('MLFLOW_TRACKING_URI', raising=False)


@pytest.mark.usefixtures('all_installed')
def test_other_places_to_log_to(monkeypatch):
    cfg = runs.load_config(CONFIG, work_dir='somewhere/run7')
    runs.log_to(cfg, ['tensorboard', 'wandb', 'mlflow'])
    own, *others = cfg.visualizer.vis_backends
    assert own.type == 'LocalVisBackend'
    keys = ['work_dir', 'train_cfg', 'optim_wrapper']
    uri = 'sqlite:///mlflow.db'
    assert others == [
        dict(type='TensorboardVisBackend'),
        dict(type='WandbVisBackend', init_kwargs=dict(name='run7')),
        dict(type='MLflowVisBackend', run_name='run7', tracking_uri=uri, tracked_config_keys=keys),
    ]
    # What the config has already is not replaced.
    others[2].tracking_uri = 'mine'
    runs.log_to(cfg, ['mlflow'])
    assert len(cfg.visualizer.vis_backends) == 4
    assert cfg.visualizer.vis_backends[-1].tracking_uri == 'mine'
    monkeypatch.setenv('MLFLOW_TRACKING_URI', 'http://server')
    other = runs.load_config(CONFIG)
    runs.log_to(other, ['mlflow'])
    assert other.visualizer.vis_backends[-1].tracking_uri == 'http://server'
    # Without a visualizer of its own, a run keeps the files that mmengine would write.
    other.pop('visualizer')
    runs.log_to(other, ['tensorboard'])
    assert [place.type for place in other.visualizer.vis_backends] == [
        'LocalVisBackend',
        'TensorboardVisBackend',
    ]


def test_a_place_to_log_to_that_is_not_there(monkeypatch):
    cfg = runs.load_config(CONFIG)
    runs.log_to(cfg, [])
    with pytest.raises(ValueError, match="cannot log to 'clearml'; known: tensorboard, wandb"):
        runs.log_to(cfg, ['clearml'])
    monkeypatch.setattr(runs, 'find_spec', lambda name: None)
    with pytest.raises(ValueError, match='wandb is not installed; pip install wandb'):
        runs.log_to(cfg, ['wandb'])
    assert len(cfg.visualizer.vis_backends) == 1


@pytest.mark.usefixtures('all_installed')
def test_runs_are_logged_there(monkeypatch, digits_cfg):
    # As much of wandb as mmengine uses.
    logged = []
    wandb = types.ModuleType('wandb')
    wandb.init = lambda **settings: logged.append(('init', settings['name']))
    wandb.config = types.SimpleNamespace(update=lambda config, **_: logged.append(('config', None)))
    wandb.run = types.SimpleNamespace(log_code=lambda **_: None)
    wandb.log = lambda values, commit: logged.append(('log', values.get('iter')))
    wandb.join = lambda: logged.append(('join', None))
    monkeypatch.setitem(sys.modules, 'wandb', wandb)
    runs.log_to(digits_cfg, ['wandb'])
    runs.build_runner(digits_cfg).train()
    assert logged == [('init', 'run'), ('config', None), ('log', 1), ('log', 2), ('join', None)]


def test_resuming(tmp_path):
    # From the last checkpoint, whatever the run had started from; or from a file.
    cfg = Config(dict(work_dir=str(tmp_path), load_from='start.pth'))
    runs.set_resume(cfg, 'auto')
    # None there yet: it starts from the weights that it was to start from.
    assert (cfg.get('resume', False), cfg.load_from) == (False, 'start.pth')
    (tmp_path / 'iter_20.pth').touch()
    runs.set_resume(cfg, 'auto')
    assert (cfg.resume, cfg.load_from) == (True, str(tmp_path / 'iter_20.pth'))
    file = tmp_path / 'x.pth'
    file.touch()
    runs.set_resume(cfg, str(file))
    assert (cfg.resume, cfg.load_from) == (True, str(file))
    with pytest.raises(FileNotFoundError, match='no.pth does not exist'):
        runs.set_resume(cfg, 'no.pth')


@pytest.mark.parametrize('start', ['start.pth', None])
def test_the_config_of_a_resumed_run_begins_as_it_began(tmp_path, start):
    file = tmp_path / 'x.pth'
    file.touch()
    cfg = Config(dict(work_dir=str(tmp_path), load_from=start))
    runs.set_resume(cfg, str(file))
    cfg.dump(tmp_path / 'dumped.py')
    again = runs.load_config(tmp_path / 'dumped.py')
    assert (again.resume, again.load_from) == (False, start)
    # What the user says is done.
    wanted = {'resume': True, 'load_from': 'mine.pth'}
    again = runs.load_config(tmp_path / 'dumped.py', options=wanted)
    assert (again.resume, again.load_from) == (True, 'mine.pth')


def test_two_runs_of_a_process_log_apart(digits_cfg, tmp_path):
    places = []
    for name in ('one', 'two'):
        cfg = copy.deepcopy(digits_cfg)
        cfg.work_dir = str(tmp_path / name)
        # As the configs' default, one for all.
        cfg.visualizer.name, cfg.experiment_name = 'visualizer', name
        runner = runs.build_runner(cfg, ['train'])
        places.append(Path(runner.visualizer.get_backend('LocalVisBackend')._save_dir))
    assert [place.relative_to(tmp_path).parts[0] for place in places] == ['one', 'two']


def test_only_a_training_that_begins_writes_its_config(scored_cfg, tmp_path):
    place = Path(scored_cfg.work_dir)
    written = place / Path(scored_cfg.filename).name
    runs.build_runner(copy.deepcopy(scored_cfg), ['test'])
    assert not written.exists()
    refused = copy.deepcopy(scored_cfg)
    source = refused.train_dataloader.dataset.datasets[0]
    source.type, source.ann_file = 'CocoDataset', str(tmp_path / 'no.json')
    with pytest.raises(FileNotFoundError, match='no.json'):
        runs.build_runner(refused)
    assert not written.exists()
    scored_cfg.train_cfg.max_iters = 1
    runs.build_runner(scored_cfg).train()
    assert written.exists()


def test_a_test_reads_images_as_a_training_does(scored_cfg):
    loader = scored_cfg.test_dataloader.dataset.pipeline[0]
    loader.type = 'LoadImageFromFile'
    runner = runs.build_runner(copy.deepcopy(scored_cfg), ['test'])
    assert type(runner.test_dataloader.dataset.pipeline.transforms[0]) is LoadImage
    # What ours cannot do is left to mmdet's.
    loader.to_float32 = True
    runner = runs.build_runner(scored_cfg, ['test'])
    assert type(runner.test_dataloader.dataset.pipeline.transforms[0]) is not LoadImage


def test_a_hook_that_is_none_is_left_out(digits_cfg):
    digits_cfg.merge_from_dict({'default_hooks.watch': None, 'default_hooks.timer': None})
    names = {type(hook).__name__ for hook in runs.build_runner(digits_cfg, ['train']).hooks}
    assert 'EMATeacherHook' in names
    assert not {'TeacherWatchHook', 'IterTimerHook'} & names


def test_own_data_want_a_whole_config(tmp_path):
    config = tmp_path / 'published.py'
    Config(dict(model=dict(), default_hooks=dict())).dump(config)
    data = OwnData(labeled='a.json', images='images', unlabeled='folder')
    with pytest.raises(ValueError, match='has no train_dataloader; give the complete config'):
        runs.load_config(config, data=data)


def test_a_resumption_that_is_refused_leaves_the_config(scored_cfg, tmp_path):
    scored_cfg.train_cfg.max_iters = 1
    config = tmp_path / 'mine.py'
    scored_cfg.dump(config)
    runs.build_runner(runs.load_config(config)).train()
    written = Path(scored_cfg.work_dir) / 'mine.py'
    before = written.read_text()
    options = {'model.detector.roi_head.bbox_head.fc_out_channels': 32}
    cfg = runs.load_config(config, options=options)
    runs.set_resume(cfg, 'auto')
    with pytest.raises(ValueError, match='the checkpoint is not of this model'):
        runs.build_runner(cfg).train()
    assert written.read_text() == before


def test_nothing_to_resume_from_is_said(tmp_path, monkeypatch):
    told = []
    monkeypatch.setattr(runs, 'print_log', lambda message, *_: told.append(message))
    cfg = Config(dict(work_dir=str(tmp_path)))
    runs.set_resume(cfg, 'auto')
    assert 'resume' not in cfg
    assert told == [f'{tmp_path} has no checkpoint to resume from: the run starts anew']
    told.clear()
    (tmp_path / 'iter_9.pth').touch()
    (tmp_path / 'last_checkpoint').write_text('none yet')
    runs.set_resume(cfg, 'auto')
    assert 'resume' not in cfg
    assert 'are of an earlier run: to continue that, name the file' in told[0]


def test_mmengines_own_resume_goes_on_as_ours_does(digits_cfg):
    digits_cfg.merge_from_dict({'resume': True, 'load_from': None})
    place = Path(digits_cfg.work_dir)
    place.mkdir()
    (place / 'last_checkpoint').write_text('none yet')
    runner = runs.build_runner(copy.deepcopy(digits_cfg), ['train'])
    assert (runner._resume, runner._load_from) == (False, None)
    (place / 'last_checkpoint').write_text('iter_1.pth')
    (place / 'iter_1.pth').touch()
    runner = runs.build_runner(digits_cfg, ['train'])
    assert (runner._resume, runner._load_from) == (True, str(place / 'iter_1.pth'))


def test_a_checkpoint_is_read_into_the_memory_of_the_cpu(digits_cfg, monkeypatch):
    # An optimizer that is not fused would ask a GPU for its counts, one tensor after the other.
    read = []
    monkeypatch.setattr(Runner, 'load_checkpoint', lambda *given, **named: read.append(named) or {})
    runner = runs.build_runner(digits_cfg, ['train'])
    with pytest.raises(KeyError):
        runner.resume('iter_1.pth')
    assert read == [dict(map_location='cpu')]


def test_ranks_that_would_go_on_apart_are_refused(digits_cfg, monkeypatch):
    def refuse(cfg, iteration):
        assert (cfg.work_dir, iteration) == (digits_cfg.work_dir, 0)
        raise ValueError('ranks would go on apart')

    monkeypatch.setattr(runs, 'check_ranks_agree', refuse)
    runner = runs.build_runner(digits_cfg, ['train'])
    with pytest.raises(ValueError, match='ranks would go on apart'):
        runner.train()
    assert not list(Path(digits_cfg.work_dir).glob('*.py'))


@pytest.mark.parametrize(('own', 'seconds'), [({}, 3600), ({'timeout': 60}, 60)])
def test_ranks_wait_for_each_other(digits_cfg, own, seconds):
    digits_cfg.env_cfg.dist_cfg = dict(backend='nccl', **own)
    assert runs.build_runner(digits_cfg, ['train']).cfg.env_cfg.dist_cfg.timeout == seconds


def test_what_is_scored():
    cfg = Config.fromfile(CONFIG)
    runs.set_scored(cfg, None)
    assert cfg.test_cfg.models == ['teacher']
    runs.set_scored(cfg, ['student', 'teacher'])
    assert cfg.test_cfg.models == ['student', 'teacher']
    # One that is published has mmdet's own loop, which scores what there is.
    published = Config(dict(test_cfg=dict(type='TestLoop')))
    runs.set_scored(published, None)
    assert published.test_cfg == dict(type='TestLoop')
    with pytest.raises(ValueError, match='of a plain detector, which has no student; leave out'):
        runs.set_scored(published, ['student'])


@pytest.mark.parametrize(
    ('parts', 'missing'), [(('train', 'val'), 'train_cfg'), (['test'], 'test')]
)
def test_a_config_that_is_not_for_this(parts, missing):
    with pytest.raises(ValueError, match=f'has no {missing}'):
        runs.build_runner(Config(dict(val_cfg=dict())), parts)
