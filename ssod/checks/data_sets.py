"""The data sets that a config names, as far as they can be checked."""

import difflib
import inspect
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from mmdet.datasets import CocoDataset
from mmdet.registry import DATASETS
from mmengine.fileio import list_from_file

from ssod.checks.findings import Finding, Role
from ssod.data.digits import DigitsDataset
from ssod.data.folder import UnlabeledFolder
from ssod.data.load_image import printable

Part = Literal['train', 'val', 'test']
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
        """Its class; ``None`` if there is none of that name."""
        kind = self.cfg.get('type')
        return DATASETS.get(kind) if isinstance(kind, str) else kind

    @property
    def kind(self) -> Kind:
        """How it is checked: data sets that read their files in ways of their own are not."""
        if not inspect.isclass(self.cls) or not self.is_local:
            return 'other'
        if issubclass(self.cls, UnlabeledFolder):
            return 'folder'
        if issubclass(self.cls, DigitsDataset) and not os.path.exists(self.file):
            return 'other'  # They are made on first use.
        reads = ('load_data_list', 'parse_data_info')
        same = issubclass(self.cls, CocoDataset) and all(
            getattr(self.cls, name) is getattr(CocoDataset, name) for name in reads
        )
        return 'coco' if same else 'other'

    @property
    def is_local(self) -> bool:
        """Whether its files are on a disk of this machine."""
        return not self.cfg.get('backend_args') and '://' not in self.file

    @property
    def file(self) -> str:
        """Its annotation file, or the folder if there is none."""
        return self._join(self.cfg.get('ann_file') or '').rstrip(os.sep)

    @property
    def image_dir(self) -> str:
        """Where its images are."""
        return self._join((self.cfg.get('data_prefix') or {}).get('img', ''))

    @cached_property
    def classes(self) -> Sequence[str] | str | None:
        """Its class names as mmengine will read them."""
        given = (self.cfg.get('metainfo') or {}).get('classes')
        if given is None:
            return getattr(self.cls, 'METAINFO', {}).get('classes')
        if isinstance(given, str) and os.path.isfile(given):
            return list(list_from_file(given))
        return given if isinstance(given, str) else list(given)

    def check_settings(self) -> list[Finding]:
        """Settings with which mmdet would crash or silently use nothing."""
        if self.cls is None:
            name = str(self.cfg.get('type'))
            near = difflib.get_close_matches(name, DATASETS.module_dict, n=1)
            remedy = f'did you mean {near[0]!r}?' if near else 'see custom_imports'
            what = f'no data set is called {name!r}'
            return [Finding('error', f'{self.where}.type', what, remedy)]
        findings = []
        if isinstance(self.classes, str):
            what = f'is the text {self.classes!r}, and no file of that name holds the classes'
            remedy = f'write ({self.classes!r},) for one class'
            findings.append(Finding('error', f'{self.where}.metainfo.classes', what, remedy))
        if self.kind == 'coco' and 'img' not in (self.cfg.get('data_prefix') or {}):
            what = "has no 'img'"
            remedy = "say where the images are: data_prefix=dict(img='train/')"
            findings.append(Finding('error', f'{self.where}.data_prefix', what, remedy))
        if self.role == 'unlabeled' and (self.cfg.get('filter_cfg') or {}).get('filter_empty_gt'):
            what = 'is set, which leaves no image without labels'
            remedy = 'set filter_cfg=dict(filter_empty_gt=False)'
            where = f'{self.where}.filter_cfg.filter_empty_gt'
            findings.append(Finding('error', where, what, remedy))
        return findings

    def check_exists(self) -> list[Finding]:
        """Whether its annotation file is there, or its folder."""
        if self.kind == 'coco' and not os.path.isfile(self.file):
            remedy = f'correct {self.where}.ann_file, or see data/README.md for what goes where'
            return [Finding('error', printable(self.file) or self.where, 'does not exist', remedy)]
        if self.kind == 'folder' and not os.path.isdir(self.file):
            remedy = f'give {self.where}.data_root the folder of the unlabelled images'
            return [Finding('error', printable(self.file), 'is no folder', remedy)]
        return []

    def _join(self, path: str) -> str:
        root = self.cfg.get('data_root') or ''
        return path if '://' in path else os.path.join(root, path)


def data_sets_of(cfg: Mapping[str, Any], parts: Sequence[Part]) -> list[DataSet]:
    """The data sets of a config, those inside of others too.

    Args:
        cfg: The config.
        parts: Which loaders will be used; those that the config does not have are passed over.
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
    """A data set, or those that it is made of."""
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
    """Whether a pipeline makes the views of an unlabelled image, in our way or in mmdet's."""
    for step in pipeline:
        if isinstance(step, Mapping):
            name = str(step.get('type'))
            if 'TwoViews' in name or 'LoadEmptyAnnotations' in name:
                return True
            if 'MultiBranch' in name and 'weak' in step:
                return True
    return False
