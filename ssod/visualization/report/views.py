"""A page that shows a config's images after augmentation, before anything is trained."""

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmdet.registry import DATASETS
from mmdet.structures.bbox import get_box_tensor
from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData

from ssod.data.data_sets import data_sets_of, spread
from ssod.data.digits import DigitsDataset
from ssod.seeds import seed_all
from ssod.visualization.report.images import View, the_data, views_of
from ssod.visualization.report.pictures import Picture, view_picture
from ssod.visualization.report.rendering import Missing, attempt, check_page, write_page


def write_views(cfg: Config, path: str | os.PathLike[str], number: int = 8) -> Path:
    """Write a page that shows what training with a config would see.

    It shows labelled images with their boxes after augmentation, and the weak and the strong view
    of unlabelled images. Where the hidden truth is known (``default_hooks.quality.ann_file``), its
    boxes are projected into both views. They must fit the objects in both; otherwise pseudo-boxes
    would not either. The images are spread evenly over their data sets, and their views are the
    same on each call.

    Args:
        cfg: The config.
        path: The page; its folder is created if missing.
        number: Images of each kind, at least 1.

    Returns:
        The page's path.

    Raises:
        ValueError: If ``number`` is below 1, ``path`` does not end with ``.html``, or there is
            nothing to show.
    """
    if number < 1:
        raise ValueError(f'number is {number}, but must be at least 1')
    init_default_scope(cfg.get('default_scope') or 'mmdet')
    path = Path(path)
    check_page(path)
    for data_set in data_sets_of(cfg, ['train']):
        if isinstance(data_set.cls, type) and issubclass(data_set.cls, DigitsDataset):
            # It is generated on first use, which may be now.
            DATASETS.build(data_set.cfg)
    parts = {
        'labeled': attempt(lambda: labeled_pictures(cfg, number)),
        'unlabeled': attempt(lambda: unlabeled_pictures(cfg, number)),
    }
    missing = [part.why for part in parts.values() if isinstance(part, Missing)]
    if len(missing) == len(parts):
        raise ValueError(missing[0])
    for why in missing:
        print_log(f'left out: {why}', 'current', logging.WARNING)
    name = Path(cfg.filename or 'config').stem
    content = {'command': 'tools/browse_views.py', 'name': name, **parts}
    write_page(path, 'views.html', content)
    return path


def labeled_pictures(cfg: Config, number: int) -> list[Picture]:
    """Labelled images with their boxes, as the student sees them.

    Args:
        cfg: The config.
        number: How many images at most.
    """
    dataset = DATASETS.build(the_data(cfg, 'labeled').cfg)
    classes = dataset.metainfo['classes']
    shown = []
    for i in spread(len(dataset), number):
        seed_all(i)
        view = _labeled_view(dataset[i])
        shown.append(_picture(view, classes, ''))
    return shown


def unlabeled_pictures(cfg: Config, number: int) -> list[tuple[Picture, Picture]]:
    """Both views of unlabelled images, with the boxes of the hidden truth if known.

    Args:
        cfg: The config.
        number: How many images at most.
    """
    classes = the_data(cfg, 'unlabeled').classes or ()
    return [
        (_picture(weak, classes, 'weak view'), _picture(strong, classes, 'strong view'))
        for weak, strong in views_of(cfg, number)
    ]


def _picture(view: View, classes: Sequence[str], what: str) -> Picture:
    height, width = view.image.shape[:2]
    count = '' if view.truth is None else f'{len(view.truth)} true boxes'
    facts = [what, f'{width}×{height}', 'flipped' if view.sample.get('flip') else '', count]
    title = '' if what == 'strong view' else Path(view.sample.img_path).name
    return view_picture(view, classes, title, ', '.join(filter(None, facts)))


def _labeled_view(item: Any) -> View:
    """A labelled image after its pipeline, which may be mmdet's own and then has no branches."""
    inputs, sample = item['inputs'], item['data_samples']
    if isinstance(inputs, dict):
        inputs, sample = inputs['labeled'], sample['labeled']
    truth = sample.gt_instances
    boxes = InstanceData(bboxes=get_box_tensor(truth.bboxes), labels=truth.labels)
    return View(inputs, sample, boxes)
