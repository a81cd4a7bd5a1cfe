"""The data sets of a config, and what each is used for."""

import inspect
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from mmdet.datasets import CocoDataset
from mmdet.registry import DATASETS
from mmengine.fileio import list_from_file

from ssod.data.digits import DigitsDataset
from ssod.data.folder import UnlabeledFolder

Part = Literal['train', 'val', 'test']
Role = Literal['labeled', 'unlabeled', 'val', 'test']
"""What a data set is used for."""
SCORED: tuple[Literal['val', 'test'], ...] = ('val', 'test')
"""The roles of data sets on which models are scored."""
Kind = Literal['coco', 'folder', 'other']


@dataclass(frozen=True)
class DataSet:
    """A data set as a config describes it.

    Args:
        where: Its place in the config.
        role: What it is used for.
        cfg: Its settings.
    """

    where: str
    role: Role
    cfg: Mapping[str, Any]

    @cached_property
    def cls(self) -> Any:
        """Its class; ``None`` if no class has that name."""
        kind = self.cfg.get('type')
        return DATASETS.get(kind) if isinstance(kind, str) else kind

    @property
    def kind(self) -> Kind:
        """How it is checked. Data sets that read their files in their own way are not checked."""
        if not inspect.isclass(self.cls) or not self.is_local:
            return 'other'
        if issubclass(self.cls, UnlabeledFolder):
            return 'folder'
        if issubclass(self.cls, DigitsDataset) and not os.path.exists(self.file):
            return 'other'  # It is generated on first use.
        reads = ('load_data_list', 'parse_data_info')
        same = issubclass(self.cls, CocoDataset) and all(
            getattr(self.cls, name) is getattr(CocoDataset, name) for name in reads
        )
        return 'coco' if same else 'other'

    @property
    def is_local(self) -> bool:
        """Whether its files are on this machine's file system."""
        return not self.cfg.get('backend_args') and '://' not in self.file

    @property
    def file(self) -> str:
        """Its annotation file, or its folder if there is no such file."""
        return self._join(self.cfg.get('ann_file') or '').rstrip(os.sep)

    @property
    def image_dir(self) -> str:
        """The folder of its images."""
        return self._join((self.cfg.get('data_prefix') or {}).get('img', ''))

    @cached_property
    def classes(self) -> Sequence[str] | str | None:
        """Its class names, as mmengine will read them."""
        given = (self.cfg.get('metainfo') or {}).get('classes')
        if given is None:
            return getattr(self.cls, 'METAINFO', {}).get('classes')
        if isinstance(given, str) and os.path.isfile(given):
            return list(list_from_file(given))
        return given if isinstance(given, str) else list(given)

    def _join(self, path: str) -> str:
        root = self.cfg.get('data_root') or ''
        return path if '://' in path else os.path.join(root, path)


def data_sets_of(cfg: Mapping[str, Any], parts: Sequence[Part]) -> list[DataSet]:
    """The data sets of a config, including nested ones.

    Args:
        cfg: The config.
        parts: Which loaders will be used; those missing from the config are skipped.
    """
    found = []
    for part in parts:
        loader = cfg.get(f'{part}_dataloader') or {}
        data_set = loader.get('dataset')
        if cfg.get(f'{part}_cfg') is not None and isinstance(data_set, Mapping):
            found += list(_inner(data_set, f'{part}_dataloader.dataset', part, ()))
    return found


def _inner(
    cfg: Mapping[str, Any], where: str, part: Part, pipeline: Sequence[Any]
) -> Iterator[DataSet]:
    """A data set, or the ones it is made of."""
    pipeline = [*pipeline, *(cfg.get('pipeline') or [])]
    if isinstance(cfg.get('dataset'), Mapping):
        yield from _inner(cfg['dataset'], f'{where}.dataset', part, pipeline)
    elif cfg.get('datasets'):
        for place, inner in enumerate(cfg['datasets']):
            yield from _inner(inner, f'{where}.datasets[{place}]', part, pipeline)
    elif part == 'train':
        yield DataSet(where, 'unlabeled' if _is_unlabeled(pipeline) else 'labeled', cfg)
    else:
        yield DataSet(where, part, cfg)


def _is_unlabeled(pipeline: Sequence[Any]) -> bool:
    """Whether a pipeline makes the views of an unlabelled image, in our way or mmdet's."""
    for step in pipeline:
        if isinstance(step, Mapping):
            name = str(step.get('type'))
            if 'TwoViews' in name or 'LoadEmptyAnnotations' in name:
                return True
            if 'MultiBranch' in name and 'weak' in step:
                return True
    return False


def spread(size: int, count: int) -> list[int]:
    """At most ``count`` numbers below ``size``, evenly spread."""
    chosen = np.linspace(0, size - 1, min(size, count)).round()
    return [int(i) for i in chosen]
