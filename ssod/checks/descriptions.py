"""Checks of how a config describes a data set."""

import difflib
import os

from mmdet.registry import DATASETS

from ssod.checks.findings import Finding
from ssod.data.data_sets import DataSet
from ssod.data.load_image import printable


def check_description(data_set: DataSet) -> list[Finding]:
    """Find settings with which mmdet would crash or silently use nothing."""
    cfg, where, classes = data_set.cfg, data_set.where, data_set.classes
    if data_set.cls is None:
        name = str(cfg.get('type'))
        near = difflib.get_close_matches(name, DATASETS.module_dict, n=1)
        remedy = f'did you mean {near[0]!r}?' if near else 'import it with custom_imports'
        return [Finding('error', f'{where}.type', f'no data set is called {name!r}', remedy)]
    findings = []
    if isinstance(classes, str):
        what = f'is the text {classes!r}, but must be a list of names or a file of them'
        remedy = f'write ({classes!r},) for one class'
        findings.append(Finding('error', f'{where}.metainfo.classes', what, remedy))
    if data_set.kind == 'coco' and 'img' not in (cfg.get('data_prefix') or {}):
        remedy = "set it to the images' folder, such as data_prefix=dict(img='train/')"
        findings.append(Finding('error', f'{where}.data_prefix', "has no 'img'", remedy))
    if data_set.role == 'unlabeled' and (cfg.get('filter_cfg') or {}).get('filter_empty_gt'):
        what = 'is set, which drops every image without labels'
        remedy = 'set filter_cfg=dict(filter_empty_gt=False)'
        findings.append(Finding('error', f'{where}.filter_cfg.filter_empty_gt', what, remedy))
    return findings


def check_exists(data_set: DataSet) -> list[Finding]:
    """Check that its annotation file or folder exists."""
    file, where = data_set.file, data_set.where
    if data_set.kind == 'coco' and not os.path.isfile(file):
        remedy = f'correct {where}.ann_file, or see data/README.md for what goes where'
        return [Finding('error', printable(file) or where, 'does not exist', remedy)]
    if data_set.kind == 'folder' and not os.path.isdir(file):
        remedy = f'set {where}.data_root to the folder of the unlabelled images'
        return [Finding('error', printable(file), 'is not a folder', remedy)]
    return []
