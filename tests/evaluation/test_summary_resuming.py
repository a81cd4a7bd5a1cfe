"""The summary of a resumed run: its seconds, its validations, and where it starts."""

import json
from pathlib import Path
from typing import Any

import pytest
from mmengine.hooks import Hook
from mmengine.runner import Runner

from ssod.evaluation import summary
from ssod.seeds import SeedHook

from .conftest import LAST, START, Detector, Drawing, Teaching, run, scores

pytestmark = pytest.mark.usefixtures('no_curves')


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A clock that goes on by ten seconds each time that it is read."""

    class Clock:
        now = 1000.0

        def monotonic(self) -> float:
            self.now += 10
            return self.now

    monkeypatch.setattr(summary, 'time', Clock())


def test_seconds(tmp_path: Path, clock: Any) -> None:
    # Read once at the start, after each of the 4 iterations, and at the end: 5 steps of 10 s.
    result, _, _ = run(tmp_path, [LAST])
    assert result['seconds'] == 50.0


def test_seconds_go_on_after_a_resumption(tmp_path: Path, clock: Any) -> None:
    # The first run's checkpoint of iteration 4 was written at 40 s; iterations 5 and 6 and the end
    # take 30 s more. The 10 s between that checkpoint and the first run's end are not counted.
    run(tmp_path, [START, LAST], [Teaching(2)], iters=4)
    later = {key: value + 0.1 for key, value in LAST.items()}
    result, _, _ = run(tmp_path, [later], [Teaching(2)], iters=6, resume=True)
    assert result['seconds'] == 70.0
    assert result['iterations'] == 6
    # The start's scores came with the checkpoint.
    assert scores(result) == (27.7, 50.1, 52.7)


@pytest.mark.parametrize(
    ('iters', 'runs'),
    [
        # Its checkpoint was written before the validation of its iteration.
        (2, 2),
        # Between two validations: the one at 4 is the next.
        (3, 1),
    ],
)
def test_a_resumed_run_lacks_no_validation(tmp_path: Path, iters: int, runs: int) -> None:
    drawn = []
    for part in ('whole', 'resumed'):
        hook, model = Drawing(), Detector()
        if part == 'resumed':
            run(tmp_path / part, [START], [SeedHook()], iters=iters)
        hooks = [SeedHook(), hook]
        _, runner, _ = run(tmp_path / part, [START], hooks, model, resume=part == 'resumed')
        drawn.append(hook.drawn)
        assert all(model.trained)
    assert runner.val_loop.runs == runs
    # It changes nothing that is drawn, and is not what a teacher begins with.
    assert drawn[1] == drawn[0][iters:]
    assert 'start_metrics' not in runner.message_hub.runtime_info


class SavedAnew(Hook):
    """Saves the last checkpoint once more after each validation, as mmengine does if it is best."""

    priority = 'VERY_LOW'

    def after_val_epoch(self, runner: Runner, metrics: Any = None) -> None:
        meta = {'epoch': 0, 'iter': runner.iter}
        runner.save_checkpoint(runner.work_dir, f'iter_{runner.iter}.pth', meta=meta)


def test_a_checkpoint_that_knows_its_validation_is_not_validated_anew(tmp_path: Path) -> None:
    run(tmp_path, [START], [SavedAnew(), Teaching(2)], iters=2)
    result, runner, _ = run(tmp_path, [LAST], [Teaching(2)], resume=True)
    assert runner.val_loop.runs == 1
    assert scores(result) == (27.7, 40.1, 42.7)


def test_resumed_at_its_end_a_run_is_validated_once_more(tmp_path: Path) -> None:
    run(tmp_path, [START, LAST], [Teaching(2)])
    (tmp_path / 'run/summary.json').unlink()
    result, runner, _ = run(tmp_path, [LAST], [Teaching(2)], resume=True)
    assert scores(result) == (27.7, 40.1, 42.7)
    assert runner.val_loop.runs == 1


@pytest.mark.parametrize('teachers', [[], [Teaching(1)]])
def test_each_start_is_logged_first(tmp_path: Path, teachers: list[Hook]) -> None:
    burn_in = {'burn_in': 1} if teachers else {}
    for iters in (2, 3):
        run(tmp_path, [START], teachers, iters=iters, resume=iters == 3)
    files = sorted(tmp_path.glob('run/*/vis_data/scalars.json'))
    records = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    starts = [i for i, record in enumerate(records) if 'started_at' in record]
    expected = [{'started_at': step, **burn_in, 'step': step} for step in (0, 2)]
    assert [records[i] for i in starts] == expected
    # All that the first start has logged, of its two iterations, is before the second one.
    lines = [sum('iter' in record for record in records[:i]) for i in starts]
    assert lines == [0, 2]


class Leftover(Hook):
    """Runners of one name share a message hub within a process."""

    def before_run(self, runner: Runner) -> None:
        runner.message_hub.update_info('train_seconds', 500.0)


def test_a_new_run_does_not_inherit_seconds(tmp_path: Path, clock: Any) -> None:
    result, _, _ = run(tmp_path, [LAST], [Leftover()])
    assert result['seconds'] == 50.0
