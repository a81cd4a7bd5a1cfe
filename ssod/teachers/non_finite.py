"""The record of batches whose losses were not finite."""

import math
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.dist import all_gather_object, get_rank, is_main_process

from ssod.files import write_indented

FILE = 'non_finite.json'
"""Name of the record in the work_dir."""

NAMED = 4
"""Most images that a message names; the record names all."""

Batch = dict[str, Any]


class NonFiniteRecord:
    """The skipped steps of the last iterations, and their batches.

    The record, a JSON file in the work_dir, lists for each batch its ``iteration``, its ``rank``,
    its ``terms`` (the losses that were not finite, or ``gradient``) and its ``images`` (``branch``,
    ``img_id`` and ``img_path`` of each).

    Args:
        window: Number of iterations.
        work_dir: Where the record is written.
    """

    def __init__(self, window: int, work_dir: str | Path) -> None:
        self.total = 0
        self.window = window
        self.path = Path(work_dir) / FILE
        self.steps: deque[int] = deque()
        """Iterations of the window in which a step was skipped."""
        self._batches: list[Batch] = []
        self._suspects: list[Batch] = []

    def forget(self, iteration: int) -> None:
        """Drop what lies before the window that ends with ``iteration``."""
        while self.steps and self.steps[0] <= iteration - self.window:
            self.steps.popleft()

    def suspect(self, iteration: int, losses: Mapping[str, float], data: Mapping[str, Any]) -> None:
        """Look at a batch's losses."""
        terms = {k: v for k, v in losses.items() if not math.isfinite(v)}
        if len(terms) > 1:
            # The sum of all terms says nothing more.
            terms.pop('loss', None)
        if terms:
            self._suspects.append(_describe(iteration, terms, data))

    def skipped(self, iteration: int, norm: float, data: Mapping[str, Any]) -> None:
        """Record a step that was skipped; every rank must call this.

        Args:
            iteration: The current one.
            norm: Norm of the gradient, which is at fault if all losses are finite.
            data: The batch of this iteration.
        """
        ranks = all_gather_object((self._suspects, _describe(iteration, {'gradient': norm}, data)))
        suspects = [batch for found, _ in ranks for batch in found]
        self._suspects = []
        self.total += 1
        self.steps.append(iteration)
        self._batches += suspects or [batch for _, batch in ranks]
        self._batches = [b for b in self._batches if b['iteration'] > iteration - self.window]
        if is_main_process():
            record = {'skipped_steps': self.total, 'batches': self._batches}
            write_indented(self.path, record)

    def seen(self) -> str:
        """The last skipped step, in words."""
        last = [b for b in self._batches if b['iteration'] == self._batches[-1]['iteration']]
        terms = ', '.join(sorted({f'{k} {v}' for batch in last for k, v in batch['terms'].items()}))
        images = [x['img_path'] or str(x['img_id']) for batch in last for x in batch['images']]
        more = f' and {len(images) - NAMED} more' if len(images) > NAMED else ''
        return (
            f'{terms} in iteration {last[0]["iteration"]}, with {", ".join(images[:NAMED])}{more} '
            f'(all images: {self.path}); {len(self.steps)} steps skipped in '
            f'the last {self.window} iterations'
        )

    def state_dict(self) -> dict[str, Any]:
        """The state for a checkpoint."""
        return {'total': self.total, 'steps': list(self.steps), 'batches': self._batches}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.total, self.steps = state['total'], deque(state['steps'])
        self._batches = state['batches']


def _describe(iteration: int, terms: Mapping[str, float], data: Mapping[str, Any]) -> Batch:
    """A batch as plain values, which both JSON and a checkpoint can hold."""
    samples = data['data_samples']
    return {
        'iteration': iteration + 1,
        'rank': get_rank(),
        'terms': {name: str(value) for name, value in terms.items()},
        'images': [
            {'branch': name, 'img_id': _plain(s.get('img_id')), 'img_path': s.get('img_path')}
            for name in ('labeled', 'strong')
            for s in samples.get(name, [])
            if s is not None
        ],
    }


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
