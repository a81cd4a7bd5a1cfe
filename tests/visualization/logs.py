"""Logs of runs, as mmengine and this package write them."""

import json
from pathlib import Path
from typing import Any

Record = dict[str, Any]


def log(work_dir: Path, timestamp: str, *records: Record, torn: str = '') -> None:
    """Write a run's scalars; ``torn`` is the beginning of a line that a kill cut off."""
    path = work_dir / timestamp / 'vis_data/scalars.json'
    path.parent.mkdir(parents=True)
    path.write_text(''.join(json.dumps(r) + '\n' for r in records) + torn)


def train(step: int, **values: float) -> Record:
    """A training iteration."""
    return {'loss': 1.0, 'iter': step, 'step': step, **values}


def val(step: int, teacher: float, student: float) -> Record:
    """A validation."""
    return {'teacher/coco/bbox_mAP': teacher, 'student/coco/bbox_mAP': student, 'step': step}


def start(step: int, burn_in: int = 0) -> Record:
    """The beginning of a run, or of its continuation."""
    return {'started_at': step, 'burn_in': burn_in, 'step': step}
