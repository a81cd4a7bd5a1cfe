"""Training steps of several configs on the same weights and images."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from mmengine.config import Config

from ssod.benchmarks.floor import Floor
from ssod.benchmarks.stepping import Trainer, set_threshold
from ssod.benchmarks.views import is_mmdets, use_views
from ssod.checkpoints import save_initialized
from ssod.data.branches import pop_branch
from ssod.ops import roi_align
from ssod.own_data import OwnData
from ssod.runs import load_config, use_amp
from ssod.teachers.hook import TeacherHook

BOXES = 4
"""Pseudo-boxes in an image, for the threshold of all is chosen so."""

SHIPPED = 'as shipped'
"""mmdet's own without this package: in float32, with torchvision's kernels."""


@dataclass(frozen=True)
class Bench:
    """What all trainings of a benchmark have in common.

    Args:
        data: The images.
        work_dir: Where what is made goes.
        options: Config values for all, with dotted keys.
        amp: Whether to compute in bfloat16.
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
            use_amp(cfg)
        if threshold is not None:
            set_threshold(cfg, threshold)
        return cfg

    def start(self, path: Path) -> Path:
        """Weights of the detector of a config, which all trainings start from."""
        file = self.work_dir / 'start.pth'
        save_initialized(self.config(path).model.detector, 0, file)
        return file

    def trainer(
        self,
        path: Path,
        start: Path,
        threshold: float | None = None,
        launcher: str = 'none',
    ) -> Trainer:
        """The training of a config."""
        place = '-'.join([*path.with_suffix('').parts[-2:], 'bfloat16' if self.amp else 'float32'])
        return Trainer(self.config(path, threshold, launcher), self.work_dir / place, start)


def step_calls(bench: Bench, paths: Sequence[Path]) -> dict[str, Callable[[], object]]:
    """The steps of some configs, and their floor.

    Args:
        bench: Data and settings.
        paths: Configs of the same detector; the first is a semi-supervised one of this package, of
            which the floor is.

    Returns:
        What makes a step, by the config's path without its ending; the floor first. mmdet's own are
        there as ours are, in the same precision and with our operators, and once more as shipped,
        if that differs: on a GPU in float32 it does not.
    """
    start, threshold = common_start(bench, paths[0])
    trainers = {path: bench.trainer(path, start, threshold) for path in paths}
    calls: dict[str, Callable[[], object]] = {'floor': Floor(trainers[paths[0]]).step}
    for path, trainer in trainers.items():
        name = str(path.with_suffix(''))
        calls[name] = trainer.step
        differs = bench.amp or not torch.cuda.is_available()
        if differs and is_mmdets(Config.fromfile(path)):
            if bench.amp:
                trainer = replace(bench, amp=False).trainer(path, start, threshold)
            calls[f'{name}, {SHIPPED}'] = _with_torchvisions_kernels(trainer.step)
    return calls


def _with_torchvisions_kernels(step: Callable[[], object]) -> Callable[[], object]:
    """The same without our RoIAlign for CPUs, of which a compiled mmcv knows nothing.

    Like mmcv's own, torchvision's kernel runs its backward pass on one thread.
    """

    def step_without() -> object:
        """Make the step."""
        with patch.object(roi_align, 'OWN_DEVICES', set()):
            return step()

    return step_without


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
    if not len(together):
        raise ValueError(
            'an untrained detector finds no box that reaches its score_thr; lower that, as with '
            '--cfg-options model.detector.test_cfg.score_thr=0.0'
        )
    return float(together[min(BOXES * images, len(together)) - 1])
