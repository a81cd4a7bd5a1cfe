"""The first iteration of a run that goes on far away."""

import torch

from ssod.benchmarks import resuming
from ssod.benchmarks.resuming import FAR, as_after, resume_seconds
from ssod.checkpoints import load_checkpoint
from ssod.data.sampler import SourceRatioSampler


def test_seconds(bench, root, monkeypatch):
    monkeypatch.setattr(resuming, 'alone', lambda function, *arguments: function(*arguments))
    drawn = []
    draw = SourceRatioSampler._draw

    def note(self, number):
        drawn.append(number)
        return draw(self, number)

    monkeypatch.setattr(SourceRatioSampler, '_draw', note)
    found = resume_seconds(bench, root / 'configs/mt_fasterrcnn_digits10pct.py', rounds=1)
    assert list(found) == ['at 0', f'resumed at {FAR}']
    assert all(0 < value < 60 for (value,) in found.values())
    # Two iterations for the checkpoint, one from the start, and one with the draws that come after
    # a hundred thousand of four each, none of which is made.
    assert drawn == [*range(8), *range(4), *range(4 * FAR, 4 * FAR + 4)]
    check(load_checkpoint(bench.work_dir / f'iter_{FAR}.pth'), bench)


def check(far, bench):
    """It is as a run of as many iterations would have left it."""
    assert far['meta']['iter'] == FAR
    assert far['message_hub']['runtime_info']['iter'] == FAR - 1
    lengths = {len(h.data[0]) for h in far['message_hub']['log_scalars'].values()}
    assert lengths == {5000}
    assert {float(state['step']) for state in far['optimizer']['state'].values()} == {FAR}
    assert [schedule['last_step'] for schedule in far['param_schedulers']] == [FAR]
    assert far['teacher']['updates'] == FAR
    near = load_checkpoint(bench.work_dir / 'resumed/iter_2.pth')
    assert near['meta']['iter'] == 2
    assert all(torch.equal(far['state_dict'][k], v) for k, v in near['state_dict'].items())
    # A run shorter than the histories are long has no more of them than iterations.
    histories = as_after(near, 7)['message_hub']['log_scalars'].values()
    assert {len(h.data[0]) for h in histories} == {7}
