"""The memory that training steps need."""

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

from ssod.benchmarks.alone import alone
from ssod.benchmarks.stepping import Trainer
from ssod.benchmarks.steps import Bench, Variant, threshold_of, variants


def step_memory(bench: Bench, paths: Sequence[Path], steps: int = 4) -> dict[str, int]:
    """Bytes of all tensors at the peak of some steps.

    This counts weights, the optimizer's moments, gradients, what is kept for the backward pass, and
    temporary tensors. On a GPU it is PyTorch's peak allocation. On a CPU it is the same, summed up
    from PyTorch's profiler, because the size of the process depends on what the C library keeps for
    later; memory that operators allocate outside PyTorch is left out.

    Args:
        bench: Data and settings.
        paths: Configs of the same detector; the first is a semi-supervised one of this package.
        steps: How many steps each training takes, in its own process, after a warm-up step.

    Returns:
        The bytes, by the name of the variant, see :func:`~ssod.benchmarks.steps.variants`.
    """
    start = alone(bench.start, paths[0])
    found = {}
    for variant in variants(bench, paths):
        threshold = alone(threshold_of, variant.bench, variant.path, start)
        found[variant.name] = alone(peak, variant, start, threshold, steps)
    return found


def peak(variant: Variant, start: Path, threshold: float, steps: int) -> int:
    """Bytes at the peak of one training's steps; see :func:`step_memory`."""
    trainer = variant.trainer(start, threshold)
    with variant.around():
        return _peak(trainer, steps)


def _peak(trainer: Trainer, steps: int) -> int:
    trainer.step()
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        _take(trainer, steps)
        return torch.cuda.max_memory_allocated()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        _take(trainer, steps)
    return _kept(trainer) + _most_given_out(profiled)


def _take(trainer: Trainer, steps: int) -> None:
    for _ in range(steps):
        trainer.step()


def _kept(trainer: Trainer) -> int:
    """Bytes that persist between steps."""
    moments = trainer.runner.optim_wrapper.optimizer.state.values()
    tensors = [value for state in moments for value in state.values() if torch.is_tensor(value)]
    tensors += [*trainer.model.parameters(), *trainer.model.buffers()]
    return sum(tensor.nbytes for tensor in tensors)


def _most_given_out(profiled: profile) -> int:
    """Largest number of bytes that tensors made while profiling had at once."""
    with tempfile.TemporaryDirectory() as place:
        trace = Path(place, 'trace.json')
        profiled.export_chrome_trace(str(trace))
        events = json.loads(trace.read_text())['traceEvents']
    return max(e['args']['Total Allocated'] for e in events if e.get('name') == '[memory]')
