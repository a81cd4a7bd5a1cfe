"""From a config file and command-line options to a runner."""

import atexit
import copy
import gc
import logging
import os
from collections.abc import Mapping, Sequence
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.runner import Runner
from torch.distributed import destroy_process_group, init_process_group, is_initialized

from ssod.any_detector import use_detector
from ssod.checkpoints import latest_checkpoint
from ssod.checks.before_run import check_data_of
from ssod.checks.detectors import may_leave_parts_out
from ssod.checks.own_data import check_own_data
from ssod.checks.settings import LOADERS, check_dicts_of, check_options, check_settings_of
from ssod.config_parts import read_config, transforms_in, use_own_folder
from ssod.data.data_sets import Part
from ssod.fitting import fit_config, machine_at_hand
from ssod.own_data import OwnData, use_data
from ssod.plain_detector import load_for_test
from ssod.precision import use_amp
from ssod.rank_agreement import check_ranks_agree
from ssod.weight_files import fetch_weights

BACKENDS = {
    'tensorboard': 'TensorboardVisBackend',
    'wandb': 'WandbVisBackend',
    'mlflow': 'MLflowVisBackend',
}
"""Where else a run's scalars can be logged: the package, and mmengine's class for it."""

MMENGINES = ('runtime_info', 'timer', 'sampler_seed', 'logger', 'param_scheduler', 'checkpoint')
"""Default hooks that MMEngine itself leaves out if a config has ``None``."""
TIMEOUT = 3600
"""Seconds that ranks wait for rank 0, which checks data, downloads and scores; NCCL's default of
ten minutes is too short."""


def load_config(
    path: str | Path,
    work_dir: str | Path | None = None,
    options: Mapping[str, Any] | None = None,
    launcher: str = 'none',
    detector: str | None = None,
    data: OwnData | None = None,
    fit: bool = True,
    data_dir: str | Path | None = None,
    amp: bool = False,
) -> Config:
    """Read a config for a run.

    Args:
        path: The config file.
        work_dir: Where results go; by default what the config says, or ``work_dirs/<its name>``.
        options: Values that replace the config's, with dotted keys; paths become strings.
        launcher: ``'none'``, ``'pytorch'`` (torchrun) or ``'slurm'``.
        detector: Another config, whose detector replaces this one's, see
            :func:`ssod.any_detector.use_detector`; its name is added to the work directory's.
        data: Data that replace the config's, see :func:`ssod.own_data.use_data`.
        fit: Whether the config is fitted to ``data`` and the machine, see
            :func:`ssod.fitting.fit_config`; the values of ``options`` stay.
        data_dir: Where files made from ``data`` go; the work directory if ``None``. Tools that only
            inspect give it, to leave the files of a run alone and download no weights.
        amp: Whether to compute in mixed precision; the batch is fitted accordingly.

    Raises:
        FileNotFoundError: If a config or data that it is fitted to do not exist.
        ValueError: If it is not a config by its name, or cannot be read; a part that should be a
            dict is not; boxes cannot teach the other config's detector; it cannot learn from
            ``data``; or the labelled images have no classes.
    """
    cfg = read_config(path, 'see configs/ for those that do')
    use_own_folder(cfg, Path(path))
    check_dicts_of(cfg)
    if 'begun_from' in cfg:
        # A resumed run wrote it; reading it does not resume that run.
        cfg.resume, cfg.load_from = False, cfg.pop('begun_from')
    name = Path(path).stem
    if detector is not None:
        use_detector(cfg, detector)
        name += f'-{Path(detector).stem}'
    options = {key: _without_paths(value) for key, value in (options or {}).items()}
    place = work_dir or options.get('work_dir') or cfg.get('work_dir') or f'work_dirs/{name}'
    cfg.work_dir = place = _normal(place)
    if data is not None:
        check_own_data(_asked(cfg, options), data)
        use_data(cfg, data, None if data_dir is None else Path(data_dir))
        if fit:
            check_settings_of(_asked(cfg, options))
            fit_config(cfg, options, machine_at_hand(launcher), data_dir is None, amp)
    merge_options(cfg, options)
    check_dicts_of(cfg)
    _keep_no_workers(cfg)
    if amp:
        use_amp(cfg)
    cfg.work_dir, cfg.launcher = place, launcher
    _use_ranks(cfg)
    return cfg


def _normal(place: str | Path) -> str:
    """A work directory's normalized path, which the paths of files in it start with."""
    place = os.path.normpath(place)
    return os.getcwd() if place == os.curdir else place


def _asked(cfg: Config, options: Mapping[str, Any]) -> Config:
    """The config with the options, as a copy: they are checked before anything is made of them."""
    asked = copy.deepcopy(cfg)
    merge_options(asked, options)
    return asked


def _keep_no_workers(cfg: Config) -> None:
    """Turn off persistent workers if there are no workers, because PyTorch refuses that."""
    for loader in (cfg.get(name) or {} for name in LOADERS):
        if loader.get('persistent_workers') and loader.get('num_workers', 0) == 0:
            loader['persistent_workers'] = False


def merge_options(cfg: Config, options: Mapping[str, Any]) -> None:
    """Replace values of a config.

    Args:
        cfg: The config; it is changed.
        options: The values, with dotted keys.

    Raises:
        ValueError: If nothing reads a key, or it leads beyond the end of a list, or into something
            that is not a dict.
    """
    check_options(cfg, options)
    try:
        cfg.merge_from_dict(dict(options))
    except (KeyError, TypeError) as error:
        # Only the first sentence: what follows may be a whole list of the config.
        why = str(error.args[0]).partition(' [')[0].partition('. ')[0]
        keys = ', '.join(options)
        raise ValueError(f'{cfg.filename}: cannot set {keys}: {why}; correct the key') from None


def _without_paths(value: Any) -> Any:
    """A value with strings for paths: a config written with paths could not be read."""
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, dict):
        return {key: _without_paths(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_without_paths(inner) for inner in value)
    return value


def log_to(cfg: Config, backends: Sequence[str]) -> None:
    """Also log a run's scalars and its config elsewhere.

    TensorBoard's files are in the run's ``vis_data``. Weights & Biases reads its own environment
    variables (``WANDB_PROJECT``, ``WANDB_MODE``), MLflow reads ``MLFLOW_TRACKING_URI``, or else
    writes ``mlflow.db`` in the current directory, where ``mlflow ui`` looks. A backend that the
    config already has stays as it is.

    Args:
        cfg: The run's config; it is changed.
        backends: Any of ``'tensorboard'``, ``'wandb'`` and ``'mlflow'``.

    Raises:
        ValueError: If one is unknown, or its package is not installed.
    """
    if backends and cfg.get('visualizer') is None:
        cfg.visualizer = dict(type='Visualizer', vis_backends=[dict(type='LocalVisBackend')])
    for name in backends:
        if name not in BACKENDS:
            raise ValueError(f'cannot log to {name!r}; known: {", ".join(BACKENDS)}')
        if find_spec(name) is None:
            raise ValueError(f'{name} is not installed; pip install {name}, or leave out --{name}')
        places = cfg.visualizer.get('vis_backends') or []
        if all(place['type'] != BACKENDS[name] for place in places):
            place = dict(type=BACKENDS[name], **_backend_settings(name, Path(cfg.work_dir).name))
            cfg.visualizer.vis_backends = [*places, place]


def _backend_settings(name: str, run: str) -> dict[str, Any]:
    if name == 'wandb':
        return dict(init_kwargs=dict(name=run))
    if name == 'mlflow':
        return dict(
            run_name=run,
            # MMEngine's default, files, is no longer supported by MLflow.
            tracking_uri=os.environ.get('MLFLOW_TRACKING_URI', 'sqlite:///mlflow.db'),
            # The whole config is logged as text; some of its values are too long for parameters.
            tracked_config_keys=['work_dir', 'train_cfg', 'optim_wrapper'],
        )
    return {}


def scale_lr(cfg: Config) -> None:
    """Scale the learning rate with the number of images per optimizer step.

    Raises:
        ValueError: If the config does not say which batch its learning rate is meant for.
    """
    if 'base_batch_size' not in (cfg.get('auto_scale_lr') or {}):
        raise ValueError(
            f'{cfg.filename}: auto_scale_lr.base_batch_size is missing; set it to the number of '
            f'images per step, over all GPUs, that the learning rate is meant for'
        )
    cfg.auto_scale_lr.enable = True


def set_resume(cfg: Config, checkpoint: str) -> None:
    """Continue from a checkpoint.

    Args:
        cfg: The run's config.
        checkpoint: A file, or ``'auto'`` for the last one in the work directory; without any, the
            run starts as usual.

    Raises:
        FileNotFoundError: If the file does not exist.
    """
    if checkpoint == 'auto':
        latest = latest_checkpoint(cfg.work_dir)
        if latest is None:
            told = f'{cfg.work_dir} has no checkpoint to resume from: the run starts anew'
            if list(Path(cfg.work_dir).glob('*.pth')):
                told += '; the ones there are of an earlier run: to continue that, name the file'
            print_log(told, 'current', logging.WARNING)
            return
        checkpoint = str(latest)
    if not Path(checkpoint).is_file():
        raise FileNotFoundError(f'checkpoint {checkpoint} does not exist; cannot resume from it')
    cfg.begun_from = cfg.get('load_from')
    cfg.resume, cfg.load_from = True, checkpoint


def set_scored(cfg: Config, models: Sequence[str] | None) -> None:
    """Choose which models a test scores.

    Args:
        cfg: The run's config; it is changed.
        models: ``'teacher'``, ``'student'`` or both; ``None`` for the teacher, or for the only
            detector of a published config.

    Raises:
        ValueError: If models are named, but the config is of one detector.
    """
    if (cfg.get('test_cfg') or {}).get('type') == 'SemiSupervisedTestLoop':
        cfg.test_cfg.models = list(models or ['teacher'])
    elif models:
        raise ValueError(
            f'{cfg.filename}: is the config of a plain detector, which has no {models[0]}; leave '
            f'out --model'
        )


def build_runner(cfg: Config, parts: Sequence[Part] = ('train', 'val')) -> Runner:
    """Build the runner of a config; downloads pretrained weights and checks the data.

    Args:
        cfg: The config.
        parts: Which of its data will be used.

    Raises:
        OSError: If weights do not exist or cannot be downloaded, or data do not exist.
        ValueError: If the config is not meant for this, or data would crash the run or teach it
            something wrong.
    """
    if cfg.get(f'{parts[0]}_cfg') is None:
        raise ValueError(
            f'{cfg.filename}: has no {parts[0]}_cfg; use a config that has one, like those '
            f'in configs/'
        )
    check_settings_of(cfg)
    if 'test' in parts:
        _load_as_in_training(cfg.get('test_dataloader'))
    if cfg.get('resume') and cfg.get('load_from') is None:
        # MMEngine would take any text in last_checkpoint for a file.
        cfg.resume = False
        set_resume(cfg, 'auto')
    if cfg.get('load_from'):
        cfg.load_from = str(fetch_weights(cfg.load_from))
    if 'timeout' not in ((cfg.get('env_cfg') or {}).get('dist_cfg') or {}):
        cfg.merge_from_dict({'env_cfg.dist_cfg.timeout': TIMEOUT})
    if not torch.cuda.is_available():
        print_log('no GPU found: running on the CPU', 'current', logging.INFO)
        if cfg.get('launcher') == 'pytorch' and not is_initialized():
            # MMEngine would choose a GPU for each rank; it leaves an existing group alone.
            init_process_group('gloo', timeout=timedelta(seconds=cfg.env_cfg.dist_cfg.timeout))
            # A rank that just exits makes the others abort.
            atexit.register(_leave_group)
    hooks = cfg.get('default_hooks') or {}
    for name in [name for name, hook in hooks.items() if hook is None and name not in MMENGINES]:
        del hooks[name]
    # Objects are shared by name: a second run in a process would write where the first one did.
    (cfg.get('visualizer') or {}).pop('name', None)
    runner = _Runner.from_cfg(cfg)
    print_log('checking annotation files and folders of images', 'current', logging.INFO)
    check_data_of(cfg, parts)
    runner.trains = 'train' in parts
    return runner


def _leave_group() -> None:
    """End the group and everything that still uses it: Gloo's threads must not outlive Python."""
    destroy_process_group()
    gc.collect()


def _load_as_in_training(loader: Any) -> None:
    """Make a test refuse the same images as a training.

    Configs name mmdet's ``LoadImageFromFile`` instead, because mmdet's own tools look for it.
    """
    plain = {'type', 'backend_args', '_scope_'}
    for step in (step for steps in transforms_in(loader) for step in steps):
        if step.type == 'LoadImageFromFile' and step.keys() <= plain:
            step.type = 'LoadImage'


class _Runner(Runner):
    """A runner that does not replace a run's config before everything is known to be right."""

    trains = False

    def dump_config(self) -> None:
        """Do nothing; :meth:`load_or_resume` writes the config."""

    def resume(
        self,
        filename: str,
        resume_optimizer: bool = True,
        resume_param_scheduler: bool = True,
        map_location: Any = 'cpu',
    ) -> None:
        """Continue from a checkpoint, read into CPU memory; an optimizer's counts stay there."""
        super().resume(filename, resume_optimizer, resume_param_scheduler, map_location)

    def load_checkpoint(self, filename: str, *args: Any, **settings: Any) -> dict[str, Any]:
        """Load weights: for training those that fit, for a test all that its model has."""
        if not self.trains:
            return load_for_test(self, filename)
        loaded: dict[str, Any] = super().load_checkpoint(filename, *args, **settings)
        return loaded

    def scale_lr(self, optim_wrapper: Any, auto_scale_lr: dict[str, Any] | None = None) -> None:
        """Scale the learning rate, if asked to, with the number of images per optimizer step.

        MMEngine counts the images of one batch, but a step may accumulate several.
        """
        if auto_scale_lr and auto_scale_lr.get('base_batch_size'):
            batches = self.cfg.optim_wrapper.get('accumulative_counts', 1)
            meant = auto_scale_lr['base_batch_size'] / batches
            auto_scale_lr = {**auto_scale_lr, 'base_batch_size': meant}
        super().scale_lr(optim_wrapper, auto_scale_lr)

    def _init_model_weights(self) -> None:
        """Initialize the model, unless a checkpoint has all of it."""
        if not self._resume:
            super()._init_model_weights()

    def load_or_resume(self) -> None:
        """Load weights; if they fit, a training writes its config.

        Raises:
            ValueError: If the checkpoint is beyond the run's end, or processes would begin at
                different iterations or learn differently.
        """
        super().load_or_resume()
        if self.trains:
            if self.iter > self.max_iters:
                raise ValueError(
                    f'checkpoint {self._load_from} is at iteration {self.iter}, but the run ends '
                    f'at {self.max_iters}; raise the iterations or epochs of train_cfg'
                )
            check_ranks_agree(self.cfg, self.iter)
            super().dump_config()


def _use_ranks(cfg: Config) -> None:
    """Prepare the model for several processes, if a launcher starts some; with or without GPUs."""
    if cfg.launcher == 'none':
        return
    if may_leave_parts_out(cfg.get('model')):
        cfg.setdefault('find_unused_parameters', True)
    if not torch.cuda.is_available():
        wrapper = dict(type='MMDistributedDataParallel', device_ids=None, broadcast_buffers=False)
        unused = cfg.get('find_unused_parameters', False)
        cfg.model_wrapper_cfg = dict(wrapper, find_unused_parameters=unused)
