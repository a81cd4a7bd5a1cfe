"""The config of one run, and the weights that the runs on a data set start from."""

import hashlib
import inspect
import json
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import fields
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.runner import Runner

from ssod.checkpoints import save_initialized
from ssod.config_parts import scale_sizes, validation_size
from ssod.data.coco_json import read_coco
from ssod.own_data import OwnData, use_data
from ssod.studies.plan import DataSource, Method, Run, Study
from ssod.studies.splits import held_out_names, labeled_names, write_budget, write_validation

RUNNERS = inspect.signature(Runner).parameters.keys()
"""The config keys a run reads; all others are variables."""
OF_THE_MACHINE = {'weights', 'checkpoint', 'num_workers', 'persistent_workers', 'prefetch_factor'}
"""Last parts of the keys of settings that do not change what is trained."""

FILES = {'train', 'val', 'images', 'val_images'}
"""Fields of a study's data set that name a file or a folder."""


class Composer:
    """Configs of a study's runs.

    Args:
        study: The study.
        data_root: The folder whose sub-folders are its data sets.
        work_dir: Where the results go.
        options: Config values for all runs that are not part of the study, with dotted keys: where
            weights are, and how many data workers there are (:data:`OF_THE_MACHINE`).

    Raises:
        ValueError: If an option is part of the study.
    """

    def __init__(
        self, study: Study, data_root: Path, work_dir: Path, options: Mapping[str, Any]
    ) -> None:
        for key in options:
            if key.rpartition('.')[2] not in OF_THE_MACHINE:
                raise ValueError(
                    f'{key}: changes what is trained, but results would not record it; put it into '
                    f'the settings of {study.file}'
                )
        self.study = study
        self.data_root = data_root
        self.work_dir = work_dir
        self.options = dict(options)
        self.splits = study.file.parent / 'splits'
        self._settings: dict[tuple[str, str], Config] = {}

    def digest(self, run: Run) -> str:
        """Eight hexadecimal digits that change with a run's settings and files, on any machine.

        Seed, budget, variables in config files, and the settings of a teacher that never begins do
        not count. The settings of the training it starts from do.
        """
        methods = [run.method]
        start = self.study.start_of(run)
        if start:
            methods.append(start.method)
        content = [_read_by_a_run(self._settled(run.data, method)) for method in methods]
        files = _files(run.data)
        return _digest([*content, files] if files else content)

    def place(self, run: Run) -> Path:
        """Where a run's results go: elsewhere with other settings, so nothing wrong is resumed."""
        return self.work_dir / f'{run.name}-{self.digest(run)}'

    def weights(self, run: Run) -> Path:
        """The checkpoint at the end of a run."""
        last: int = self._settled(run.data, run.method).train_cfg.max_iters
        return self.place(run) / f'iter_{last}.pth'

    def config(self, run: Run, held_out: bool = False) -> Config:
        """The whole config of a run.

        The run is scored once, at its end; only its last checkpoint is kept.

        Args:
            run: The run.
            held_out: Whether to score it on the held-out validation images.
        """
        cfg = self._settled(run.data, run.method)
        cfg.merge_from_dict(self.options)
        cfg.work_dir = str(self.place(run))
        use_data(cfg, self._data(run, held_out))
        cfg.train_cfg.val_interval = cfg.train_cfg.max_iters
        cfg.default_hooks.checkpoint.max_keep_ckpts = 1
        cfg.merge_from_dict({'randomness.seed': run.seed})
        cfg.load_from = str(self.begins_with(run))
        # It is written into the run's folder, and whole like the one that the run itself writes.
        cfg.launcher = 'none'
        return cfg

    def begins_with(self, run: Run) -> Path:
        """The checkpoint that a run begins with; an untrained one is made if missing."""
        start = self.study.start_of(run)
        return self.weights(start) if start else self._initialized(run)

    def _data(self, run: Run, held_out: bool) -> OwnData:
        source = run.data
        root = self.data_root / source.name
        train, val = root / source.train, root / source.val
        made = self.work_dir / source.name
        fold = self.splits / source.name / f'fold{run.seed}.txt'
        labeled_names(fold, read_coco(train)['images'], run.seed, source.percents)
        budget = made / f'{run.percent:g}pct' / f'fold{run.seed}'
        labeled, unlabeled, truth = write_budget(fold, train, run.percent, budget)
        aside = self.splits / source.name / 'held_out.txt'
        held_out_names(aside, read_coco(val)['images'])
        scored = write_validation(aside, val, made)[held_out]
        images, val_images = root / source.images, root / (source.val_images or source.images)
        return OwnData(labeled, images, unlabeled, scored, val_images, truth=truth)

    def _initialized(self, run: Run) -> Path:
        """An untrained detector for this data set and seed, the same for all methods."""
        cfg = self._settled(run.data, self.study.trained[0])
        name = f'initialized{run.seed}-{_digest(cfg.model.detector.to_dict())}.pth'
        path = self.work_dir / run.data.name / name
        if not path.exists():
            cfg.merge_from_dict(self.options)
            cfg.work_dir = str(path.parent)
            use_data(cfg, self._data(run, held_out=False))
            save_initialized(cfg.model.detector, run.seed, path)
        return path

    def _settled(self, data: DataSource, method: Method) -> Config:
        """A method's config with the settings of the study, the data set and its own."""
        key = data.name, method.name
        if key not in self._settings:
            cfg = Config.fromfile(method.config)
            for settings in (self.study.settings, data.settings, method.settings):
                cfg.merge_from_dict(dict(settings or {}))
            own_size = validation_size(cfg)
            if data.size and own_size:
                factor = data.size / max(own_size)
                scale_sizes(cfg, (factor, factor))
            self._settings[key] = cfg
        return deepcopy(self._settings[key])


def _digest(content: Any) -> str:
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _files(data: DataSource) -> dict[str, Any]:
    """The names of a data set's files and folders that differ from the defaults."""
    usual = {field.name: field.default for field in fields(data) if field.name in FILES}
    return {name: path for name in usual if (path := getattr(data, name)) != usual[name]}


def _read_by_a_run(cfg: Config) -> dict[str, Any]:
    """The settings of a config that can change what is trained."""
    content = {key: value for key, value in cfg.to_dict().items() if key in RUNNERS}
    if not (content.get('auto_scale_lr') or {}).get('enable'):
        content.pop('auto_scale_lr', None)
    hooks, model = content['default_hooks'], content['model']
    burn_in = hooks.get('teacher', {}).get('burn_in', 0)
    if burn_in >= content['train_cfg']['max_iters']:
        del hooks['teacher']
        content['model'] = {key: model[key] for key in ('detector', 'data_preprocessor')}
    return content
