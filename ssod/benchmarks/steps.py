"""Training steps of several configs on the same weights and images."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import save_checkpoint, set_random_seed

from ssod.benchmarks.floor import Floor
from ssod.benchmarks.stepping import Trainer, set_threshold
from ssod.benchmarks.views import use_views
from ssod.data.branches import pop_branch
from ssod.own_data import OwnData
from ssod.runs import load_config
from ssod.teachers.hook import TeacherHook

BOXES = 4
"""Pseudo-boxes in an image, for the threshold of all is chosen so."""


@dataclass(frozen=True)
class Bench:
    """What all trainings of a benchmark have in common.

    Args:
        data: The images.
        work_dir: Where what is made goes.
        options: Config values for all, with dotted keys.
        amp: Whether to compute in bfloat16, which needs a GPU.
        views: A config of mmdet's own methods, whose views ours are to take for their own, for
            larger ones take longer.
    """

    data: OwnData
    work_dir: Path
    options: Mapping[str, Any]
    amp: bool = False
    views: Path | None = None

    def config(self, path: Path, threshold: float | None = None, launcher: str = 'none') -> Config:
        """A config on these data; with a threshold of pseudo-boxes, if one is given."""
        cfg = load_config(
            path, str(self.work_dir), self.options, launcher, data=self.data, fit=False
        )
        if self.views is not None:
            use_views(cfg, Config.fromfile(self.views))
        cfg.randomness = dict(seed=0)
        if self.amp:
            cfg.optim_wrapper.update(type='AmpOptimWrapper', dtype='bfloat16')
        if threshold is not None:
            set_threshold(cfg, threshold)
        return cfg

    def start(self, path: Path) -> Path:
        """Weights of the detector of a config, which all trainings start from."""
        file = self.work_dir / 'start.pth'
        init_default_scope('mmdet')
        set_random_seed(0)
        detector = MODELS.build(self.config(path).model.detector)
        detector.init_weights()
        save_checkpoint({'state_dict': detector.state_dict(), 'meta': {}}, str(file))
        return file

    def trainer(
        self,
        path: Path,
        start: Path,
        threshold: float | None = None,
        launcher: str = 'none',
    ) -> Trainer:
        """The training of a config."""
        place = self.work_dir / '-'.join(path.with_suffix('').parts[-2:])
        return Trainer(self.config(path, threshold, launcher), place, start)


def step_calls(bench: Bench, paths: Sequence[Path]) -> dict[str, Callable[[], object]]:
    """The steps of some configs, and their floor.

    Args:
        bench: Data and settings.
        paths: Configs of the same detector; the first is a semi-supervised one of this package, of
            which the floor is.

    Returns:
        What makes a step, by the config's path without its ending; the floor first.
    """
    start, threshold = common_start(bench, paths[0])
    trainers = {path: bench.trainer(path, start, threshold) for path in paths}
    calls: dict[str, Callable[[], object]] = {'floor': Floor(trainers[paths[0]]).step}
    return calls | {str(path.with_suffix('')): t.step for path, t in trainers.items()}


def common_start(bench: Bench, path: Path) -> tuple[Path, float]:
    """Weights and a threshold of pseudo-boxes for all trainings of a detector.

    Args:
        bench: Data and settings.
        path: A semi-supervised config of this package with that detector.
    """
    start = bench.start(path)
    return start, _threshold(bench.trainer(path, start, 0.0))


def _threshold(trainer: Trainer, batches: int = 2) -> float:
    """The score that as many of the teacher's boxes have as are to teach."""
    hook = next(hook for hook in trainer.runner.hooks if isinstance(hook, TeacherHook))
    scores, images = [], 0
    for _ in range(batches):
        weak = pop_branch(trainer.load(), 'weak')
        predictions, _ = hook.predict(trainer.runner, weak)
        scores += [prediction.scores for prediction in predictions]
        images += len(predictions)
    together = torch.cat(scores).sort(descending=True).values
    return float(together[min(BOXES * images, len(together)) - 1])
