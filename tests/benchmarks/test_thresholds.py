"""The pseudo-boxes that teach in a benchmark's steps."""

from dataclasses import replace

import pytest
import torch

from ssod.benchmarks.floor import Floor
from ssod.benchmarks.steps import BOXES, threshold_of

OURS = 'configs/mt_fasterrcnn_digits10pct.py'


def trainer_of(bench, path):
    options = bench.options
    if 'mmdet' in str(path):
        options = {key: value for key, value in options.items() if 'batch' not in key}
    bench = replace(bench, options=options)
    start = bench.start(path)
    threshold = threshold_of(bench, path, start)
    return bench.trainer(path, start, threshold), threshold


@pytest.mark.parametrize(
    ('config', 'method'),
    [
        (OURS, 'loss'),
        ('studies/mmdet/semibase_fasterrcnn_digits.py', 'loss_by_pseudo_instances'),
        ('studies/mmdet/softteacher_fasterrcnn_digits.py', 'loss_by_pseudo_instances'),
    ],
)
def test_boxes_teach_in_the_steps_of_all(bench, root, monkeypatch, config, method):
    trainer, threshold = trainer_of(bench, root / config)
    loss, counts = getattr(trainer.model, method), []

    def noted(inputs, samples, *others):
        strong = samples['strong'] if isinstance(samples, dict) else samples
        counts.extend(int((s.gt_instances.scores >= threshold).sum()) for s in strong)
        return loss(inputs, samples, *others)

    monkeypatch.setattr(trainer.model, method, noted)
    for _ in range(4):
        trainer.step()
    assert BOXES / 4 < torch.tensor(counts).float().mean() < 4 * BOXES


def test_boxes_teach_in_the_floors(bench, root):
    trainer, _ = trainer_of(bench, root / OURS)
    counts = [
        len(sample.gt_instances)
        for _, (_, samples) in Floor(trainer)._batches
        for sample in samples[1:]
    ]
    assert BOXES / 4 < torch.tensor(counts).float().mean() < 4 * BOXES
    assert not trainer.model.teacher.training
