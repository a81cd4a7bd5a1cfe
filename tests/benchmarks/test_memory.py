"""The memory of a step."""

from dataclasses import replace

import torch

from ssod.benchmarks import memory
from ssod.benchmarks.memory import peak, step_memory
from ssod.benchmarks.steps import Variant, variants
from ssod.ops import roi_align


def here(function, *arguments):
    """As alone, but in this process, for starting one takes seconds."""
    return function(*arguments)


def test_the_peak(bench, root, monkeypatch):
    monkeypatch.setattr(memory, 'alone', here)
    path = root / 'configs/mt_fasterrcnn_digits10pct.py'
    found = step_memory(bench, [path], steps=1)
    assert list(found) == [str(path.with_suffix(''))]
    start, (variant,) = bench.work_dir / 'start.pth', variants(bench, [path])
    (first,) = found.values()
    # Two models and two moments of each of the student's weights are there anyway.
    weights = sum(t.nbytes for t in torch.load(start)['state_dict'].values())
    assert first > 4 * weights
    # More images take more.
    options = {**bench.options, 'train_dataloader.batch_size': 8}
    larger = variant._replace(bench=replace(bench, options=options))
    assert peak(larger, start, 0.1, 1) > 1.2 * first


def test_each_with_a_threshold_of_its_own(bench, root, monkeypatch):
    asked = []

    def noted(variant, start, threshold, steps):
        asked.append((variant.bench.amp, threshold))
        return 1

    monkeypatch.setattr(memory, 'alone', here)
    monkeypatch.setattr(memory, 'threshold_of', lambda own, path, _: (path, own.amp))
    monkeypatch.setattr(memory, 'peak', noted)
    paths = [root / 'configs/mt_fasterrcnn_digits10pct.py']
    paths += [root / 'studies/mmdet/semibase_fasterrcnn_digits.py']
    found = step_memory(replace(bench, amp=True), paths)
    ours, theirs = (str(path.with_suffix('')) for path in paths)
    assert list(found) == [ours, theirs, f'{theirs}, as shipped']
    measured = [(paths[0], True), (paths[1], True), (paths[1], False)]
    assert asked == [(threshold[1], threshold) for threshold in measured]


def test_as_shipped_without_our_operators(bench, root, monkeypatch):
    own = []
    monkeypatch.setattr(memory, '_peak', lambda *_: own.append(bool(roi_align.OWN_DEVICES)) or 1)
    monkeypatch.setattr(Variant, 'trainer', lambda *_: None)
    path = root / 'studies/mmdet/semibase_fasterrcnn_digits.py'
    for variant in variants(bench, [path]):
        peak(variant, bench.work_dir, 0.1, 1)
    assert own == [True, False]
