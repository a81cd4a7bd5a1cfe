"""The same views for our methods and mmdet's own."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config

NAMES = {'weak': 'unsup_teacher', 'strong': 'unsup_student'}
"""mmdet's names for our views of an unlabelled image."""


def find_views(paths: Sequence[Path]) -> Path | None:
    """The first config of one of mmdet's own semi-supervised methods, if any."""
    for path in paths:
        if is_mmdets(Config.fromfile(path)):
            return path
    return None


def check_configs(paths: Sequence[Path]) -> None:
    """Refuse configs without a semi-supervised step or, for the first, without a floor.

    Args:
        paths: The configs; the floor is measured for the first.

    Raises:
        ValueError: If the first is not a semi-supervised one of this package, or another one is
            neither that nor one of mmdet's own methods.
    """
    for path in paths:
        cfg = Config.fromfile(path)
        sources = cfg.get('train_dataloader', {}).get('dataset', {}).get('datasets', ())
        ours = not is_mmdets(cfg) and len(sources) > 1
        if path == paths[0] and not ours:
            raise ValueError(
                f'{path} has no teacher and student of this package, but the floor needs them; '
                f'name a config such as configs/mt_fasterrcnn_digits10pct.py first'
            )
        if not (ours or is_mmdets(cfg)):
            raise ValueError(f'{path} has no unlabelled images, but each step needs some here')


def is_mmdets(cfg: Config) -> bool:
    """Whether a config is one of mmdet's own semi-supervised methods."""
    return 'MultiBranch' in str(cfg.get('train_dataloader'))


def use_views(cfg: Config, theirs: Config) -> None:
    """Let a config make the same views as mmdet's own.

    Args:
        cfg: Config of a training; it is changed if it is a semi-supervised one of this package.
        theirs: A config of one of mmdet's own semi-supervised methods.
    """
    labeled, unlabeled = (d.pipeline for d in theirs.train_dataloader.dataset.datasets[:2])
    split = next(t for t in unlabeled if t.type.endswith('MultiBranch'))
    views = {ours: _unpacked(split[name]) for ours, name in NAMES.items()}
    between = [t for t in labeled if not t.type.startswith('Load') and 'Multi' not in t.type]
    for dataset in cfg.train_dataloader.dataset.get('datasets', []):
        for transform in dataset.pipeline:
            if transform.type == 'TwoViews':
                transform.update(views, common=[])
            elif transform.type == 'LabeledView':
                transform.transforms = between


def _unpacked(transforms: Any) -> list[Any]:
    return [t for t in transforms if not t.type.endswith('PackDetInputs')]
