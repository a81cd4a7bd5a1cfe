"""Real training, one step at a time."""

from copy import deepcopy
from pathlib import Path
from typing import Any

from mmdet.registry import LOOPS
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.runner import IterBasedTrainLoop, Runner
from torch.nn.modules.batchnorm import _BatchNorm

from ssod.strict import strict_settings

NEVER = 10**9
"""An interval that never ends."""


@LOOPS.register_module()
@strict_settings
class SteppedTrainLoop(IterBasedTrainLoop):
    """mmengine's loop, stopped before its first step; all hooks of a step are called."""

    def run(self) -> BaseModel:
        """Begin like a training."""
        self.runner.call_hook('before_train')
        self.runner.call_hook('before_train_epoch')
        return self.runner.model

    def load(self) -> Any:
        """The next batch, as loaded."""
        return next(self.dataloader_iterator)

    def step(self, batch: Any) -> None:
        """One step as in a training."""
        self.runner.model.train()
        self.run_iter(batch)


class Trainer:
    """A config's training, ready for its first step.

    It does not validate, save or log. The learning rate is 0 and batch norms keep their running
    statistics, so that all steps have the same student, teacher and number of pseudo-boxes; still,
    everything is computed.

    Args:
        cfg: The config; not modified.
        work_dir: Where mmengine writes its usual files.
        start: Detector weights to start from; ``None`` for the config's own.
    """

    def __init__(self, cfg: Config, work_dir: Path, start: Path | None = None) -> None:
        self.runner = Runner.from_cfg(_without_end(cfg, work_dir, start))
        for part in self.model.modules():
            if isinstance(part, _BatchNorm):
                part.momentum = 0.0
        self.runner.train()

    @property
    def model(self) -> BaseModel:
        """The model being trained."""
        return self.runner.model

    def load(self) -> Any:
        """The next batch, as loaded."""
        return self.runner.train_loop.load()

    def step(self) -> None:
        """Load a batch and learn from it."""
        loop = self.runner.train_loop
        loop.step(loop.load())


def _without_end(cfg: Config, work_dir: Path, start: Path | None) -> Config:
    cfg = unscored(cfg)
    hooks = cfg.default_hooks
    hooks.logger.interval = NEVER
    if 'burn_in' in hooks.get('teacher', {}):
        hooks.teacher.burn_in = 0
    cfg.train_cfg = dict(type='SteppedTrainLoop', max_iters=NEVER, val_interval=NEVER)
    cfg.optim_wrapper.optimizer.lr = 0.0
    cfg.param_scheduler = []
    cfg.work_dir = str(work_dir)
    # Runners and visualizers with the same name are the same object.
    cfg.experiment_name = cfg.visualizer.name = work_dir.name
    cfg.load_from = None if start is None else str(start)
    return cfg


def unscored(cfg: Config) -> Config:
    """The same config without validation, test, their summary, and checkpoints on the way."""
    cfg = deepcopy(cfg)
    for part in ('val', 'test'):
        for kind in ('cfg', 'dataloader', 'evaluator'):
            cfg.pop(f'{part}_{kind}', None)
    cfg.default_hooks.pop('summary', None)
    cfg.default_hooks.checkpoint.interval = cfg.train_cfg.val_interval = NEVER
    return cfg


def set_threshold(cfg: Config, threshold: float) -> None:
    """Set the score threshold of pseudo-boxes, in our methods or mmdet's own.

    Args:
        cfg: Config of a semi-supervised training; it is changed.
        threshold: The lowest score.
    """
    theirs = ('pseudo_label_initial_score_thr', 'rpn_pseudo_thr', 'cls_pseudo_thr')
    ours = ('score_threshold', 'threshold', 'min_score')
    for part in _settings(cfg):
        for name in (*theirs, *ours):
            if name in part:
                part[name] = threshold


def _settings(cfg: Config) -> list[Any]:
    """The settings that contain score thresholds."""
    model = cfg.model
    found = [model, model.get('semi_train_cfg'), model.get('box_jitter')]
    found.append(cfg.default_hooks.get('teacher', {}).get('selector'))
    return [part for part in found if isinstance(part, dict)]
