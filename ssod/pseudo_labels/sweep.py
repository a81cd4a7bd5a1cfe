"""Score thresholds that suit a trained detector, found on labelled images."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median_low

import numpy as np
import torch
from mmdet.registry import DATASETS
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.runner import Runner
from mmengine.structures import InstanceData

from ssod.checks.findings import some
from ssod.data.truth import truth_of
from ssod.progress import progress_bar
from ssod.pseudo_labels.verdicts import judge

THRESHOLDS = tuple(step / 20 for step in range(1, 20))
"""The score thresholds that are tried: 0.05, 0.1, ... 0.95."""


@dataclass(frozen=True)
class ClassSweep:
    """How good a class's boxes are at each of ``THRESHOLDS``.

    Args:
        name: The class.
        truths: Number of its true boxes.
        kept: Number of its boxes that reach each threshold.
        right: Number of right ones among these.
    """

    name: str
    truths: int
    kept: tuple[int, ...]
    right: tuple[int, ...]

    def precision(self, threshold: float) -> float | None:
        """Share of the boxes that are right; ``None`` if there are no boxes."""
        at = THRESHOLDS.index(threshold)
        return self.right[at] / self.kept[at] if self.kept[at] else None

    def recall(self, threshold: float) -> float | None:
        """Share of the true boxes that are found; ``None`` if there are none."""
        return self.right[THRESHOLDS.index(threshold)] / self.truths if self.truths else None

    @property
    def recommended(self) -> float | None:
        """The threshold with the best F1 score of precision and recall; the highest of equal ones.

        ``None`` if no box of the class is right.
        """
        balance = [
            2 * right / (kept + self.truths)
            for right, kept in zip(self.right, self.kept, strict=True)
            if self.truths
        ]
        if not balance or max(balance) == 0:
            return None
        return max(t for t, value in zip(THRESHOLDS, balance, strict=True) if value == max(balance))


class Sweep:
    """Collects the detections of labelled images.

    A box is right if its IoU with a true box of its class is at least 0.5 and no box with a higher
    score has found that one; boxes on crowds of their class do not count.

    Args:
        classes: Names of the classes, by label.
    """

    def __init__(self, classes: Sequence[str]) -> None:
        self.classes = classes
        self._truths = np.zeros(len(classes), np.int64)
        self._found: list[list[tuple[float, bool]]] = [[] for _ in classes]

    def add(self, found: InstanceData, truth: InstanceData, crowds: InstanceData) -> None:
        """Add an image.

        Args:
            found: ``bboxes`` (N, 4), ``scores`` (N,) and ``labels`` (N,).
            truth: ``bboxes`` (M, 4) and ``labels`` (M,).
            crowds: The same for ignored boxes.
        """
        self._truths += np.bincount(truth.labels.numpy(), minlength=len(self.classes))
        verdicts = judge(found, truth, crowds)
        for score, label, verdict in zip(
            found.scores.tolist(), found.labels.tolist(), verdicts, strict=True
        ):
            if verdict.kind != 'ignored':
                self._found[label].append((score, verdict.kind == 'right'))

    def rows(self) -> list[ClassSweep]:
        """One row for each class."""
        rows = []
        for name, truths, found in zip(self.classes, self._truths, self._found, strict=True):
            kept = [[right for score, right in found if score >= t] for t in THRESHOLDS]
            counts = tuple(map(len, kept)), tuple(map(sum, kept))
            rows.append(ClassSweep(name, int(truths), *counts))
        return rows


@torch.no_grad()
def sweep_validation(cfg: Config, model: BaseModel) -> list[ClassSweep]:
    """Sweep over the validation images of a config.

    Args:
        cfg: The config with the images, and how to prepare and batch them (``val_dataloader``).
        model: The model that predicts, on the device to use.

    Raises:
        ValueError: If the config has no validation images.
    """
    if not cfg.get('val_dataloader'):
        raise ValueError(
            f'{cfg.filename} has no val_dataloader, whose images the thresholds need; add one'
        )
    dataset = DATASETS.build(cfg.val_dataloader.dataset)
    sampler = dict(type='DefaultSampler', shuffle=False)
    loader = Runner.build_dataloader(dict(cfg.val_dataloader, dataset=dataset, sampler=sampler))
    sweep, number = Sweep(dataset.metainfo['classes']), 0
    model.eval()
    with progress_bar() as bar:
        for batch in bar.track(loader, description='trying thresholds'):
            for sample in model.test_step(batch):
                info = dataset.get_data_info(number)
                truth, crowds = truth_of(info), truth_of(info, ignored=True)
                sweep.add(sample.cpu().pred_instances, truth, crowds)
                number += 1
    return sweep.rows()


def sweep_table(rows: Sequence[ClassSweep]) -> str:
    """A Markdown table of each class's recommended threshold, with precision and recall there."""
    lines = ['| class | labels | threshold | precision | recall |', '|' + ' --- |' * 5]
    for row in rows:
        best = row.recommended
        cells = ['-'] * 3
        if best is not None:
            cells = [f'{value:.2f}' for value in (best, row.precision(best), row.recall(best))]
        lines.append(f'| {row.name} | {row.truths} | {" | ".join(cells)} |')
    return '\n'.join(lines)


def selector_of(rows: Sequence[ClassSweep]) -> str:
    """The recommended thresholds as lines of a config.

    A class without right boxes gets 1; one without true boxes gets the median of the others.
    """
    told = [row.recommended for row in rows if row.recommended is not None]
    usual = median_low(told) if told else 1.0
    thresholds = [row.recommended or (1.0 if row.truths else usual) for row in rows]
    unseen = [row.name for row in rows if not row.truths]
    note = (
        f'# No true box of {some(unseen)}: {usual}, the median of the others.\n'
        if told and unseen
        else ''
    )
    selector = f"dict(_delete_=True, type='ClassScoreSelector', thresholds={thresholds})"
    return f'{note}default_hooks = dict(teacher=dict(selector={selector}))'
