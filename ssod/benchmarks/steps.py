"""Training steps of several configs on the same weights and images."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import torch
from mmengine.config import Config
from torch import Tensor

from ssod.benchmarks.floor import Floor
from ssod.benchmarks.stepping import Trainer, set_threshold
from ssod.benchmarks.views import is_mmdets, use_views
from ssod.checkpoints import save_initialized
from ssod.data.branches import pop_branch
from ssod.models.strided_conv import mend_strided
from ssod.ops import roi_align
from ssod.own_data import OwnData
from ssod.runs import load_config
from ssod.teachers.hook import TeacherHook

BOXES = 4
"""Pseudo-boxes per image that thresholds are chosen for."""

SHIPPED = 'as shipped'
"""mmdet's own without this package: in float32, with torchvision's kernels."""


@dataclass(frozen=True)
class Bench:
    """What all trainings of a benchmark have in common.

    Args:
        data: The images.
        work_dir: Where files go.
        options: Config values for all, with dotted keys.
        amp: Whether to compute in bfloat16.
        views: A config of one of mmdet's own methods, whose views our configs use too, because
            larger views take longer.
    """

    data: OwnData
    work_dir: Path
    options: Mapping[str, Any]
    amp: bool = False
    views: Path | None = None

    def config(self, path: Path, threshold: float | None = None, launcher: str = 'none') -> Config:
        """A config with these data, and with a threshold for pseudo-boxes if given."""
        cfg = load_config(
            path,
            str(self.work_dir),
            self.options,
            launcher,
            data=self.data,
            fit=False,
            amp=self.amp,
        )
        if self.views is not None:
            use_views(cfg, Config.fromfile(self.views))
        cfg.randomness = dict(seed=0)
        if threshold is not None:
            set_threshold(cfg, threshold)
        return cfg

    def start(self, path: Path) -> Path:
        """Detector weights of a config, which all trainings start from."""
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


class Variant(NamedTuple):
    """A config as it is measured."""

    name: str
    """The config's path without its ending, and :data:`SHIPPED` if that applies."""
    bench: Bench
    path: Path
    is_shipped: bool

    def trainer(self, start: Path, threshold: float) -> Trainer:
        """Its training; mmdet's own also gets our operators, unless it is as shipped."""
        trainer = self.bench.trainer(self.path, start, threshold)
        if not self.is_shipped:
            mend_strided(trainer.model)
        return trainer

    def around(self) -> AbstractContextManager[Any]:
        """The context its steps run in.

        As shipped, it lacks our RoIAlign for CPUs, which a compiled mmcv does not have either. Like
        mmcv's own, torchvision's kernel runs its backward pass on one thread.
        """
        own = set() if self.is_shipped else roi_align.OWN_DEVICES
        return patch.object(roi_align, 'OWN_DEVICES', own)


def variants(bench: Bench, paths: Sequence[Path]) -> Iterator[Variant]:
    """All that is measured of some configs.

    mmdet's own configs are measured like ours, in the same precision and with our operators, and
    again as shipped if that differs. On a GPU in float32 it does not.
    """
    for path in paths:
        name = str(path.with_suffix(''))
        yield Variant(name, bench, path, False)
        differs = bench.amp or not torch.cuda.is_available()
        if differs and is_mmdets(Config.fromfile(path)):
            yield Variant(f'{name}, {SHIPPED}', replace(bench, amp=False), path, True)


def step_calls(bench: Bench, paths: Sequence[Path]) -> dict[str, Callable[[], object]]:
    """The steps of some configs, and their floor.

    Args:
        bench: Data and settings.
        paths: Configs of the same detector; the first is a semi-supervised one of this package, and
            the floor is measured for it.

    Returns:
        A function that makes a step, by the name of the variant; the floor first.
    """
    start = bench.start(paths[0])
    calls: dict[str, Callable[[], object]] = {}
    for variant in variants(bench, paths):
        threshold = threshold_of(variant.bench, variant.path, start)
        trainer = variant.trainer(start, threshold)
        if not calls:
            calls['floor'] = Floor(trainer).step
        calls[variant.name] = _inside(variant, trainer)
    return calls


def _inside(variant: Variant, trainer: Trainer) -> Callable[[], None]:
    def step() -> None:
        """Make the step."""
        with variant.around():
            trainer.step()

    return step


def threshold_of(bench: Bench, path: Path, start: Path, batches: int = 4) -> float:
    """The score that :data:`BOXES` of the teacher's boxes reach in half of the images.

    Each method has its own, because teachers differ: mmdet's ``SoftTeacher`` leaves its teacher in
    training mode, so that batch norms use the statistics of their batch.

    Args:
        bench: Data and settings.
        path: A semi-supervised config.
        start: Weights of its detector.
        batches: How many batches to look at.

    Raises:
        ValueError: If there are no boxes at all.
    """
    trainer = bench.trainer(path, start, 0.0)
    scores = [of_image for _ in range(batches) for of_image in _scores(trainer)]
    least = [s.sort(descending=True).values[:BOXES][-1] for s in scores if len(s)]
    if not least:
        raise ValueError(
            'an untrained detector finds no box that reaches its score_thr; lower it, for example '
            'with --cfg-options model.detector.test_cfg.score_thr=0.0'
        )
    return float(torch.stack(least).median())


def _scores(trainer: Trainer) -> list[Tensor]:
    """The scores of the teacher's boxes in each image of a batch."""
    runner, batch = trainer.runner, trainer.load()
    model = runner.model.train()
    hook = next((hook for hook in runner.hooks if isinstance(hook, TeacherHook)), None)
    if hook is not None:
        predictions, _ = hook.predict(runner, pop_branch(batch, 'weak'))
        return [of_image.scores for of_image in predictions]
    views = model.data_preprocessor(batch, True)
    weak = [views[part]['unsup_teacher'] for part in ('inputs', 'data_samples')]
    with runner.optim_wrapper.optim_context(model), torch.no_grad():
        found, _ = model.get_pseudo_instances(*weak)
    return [sample.gt_instances.scores for sample in found]
