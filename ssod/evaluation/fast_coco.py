"""COCO's scores of boxes, computed many times faster."""

import logging
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import hotcoco
import numpy as np
from mmdet.evaluation import CocoMetric
from mmdet.registry import METRICS
from mmengine.logging import print_log
from numpy.typing import NDArray

from ssod.data.coco_json import in_order

ITEMS = ('mAP', 'mAP_50', 'mAP_75', 'mAP_s', 'mAP_m', 'mAP_l')
"""The first of COCO's twelve figures, in their order, as mmdet names them."""


@METRICS.register_module()
class FastCocoMetric(CocoMetric):
    """mmdet's ``CocoMetric`` with hotcoco instead of pycocotools: the same scores, faster.

    mmdet still computes anything other than the box mAP with COCO's own limits (``metric``,
    ``classwise``, ``metric_items``, ``iou_thrs``, ``proposal_nums``, ``format_only``, no
    ``ann_file``). If nothing at all is detected, the scores are 0, whereas mmdet gives none.

    Args:
        **kwargs: As for mmdet's ``CocoMetric``.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        has_truth = self._coco_api is not None and self.metrics == ['bbox']
        others = self.classwise or self.metric_items or self.format_only
        limited = any(kwargs.get(name) is not None for name in ('iou_thrs', 'proposal_nums'))
        self._truth: hotcoco.COCO | None = None
        if has_truth and not (others or limited):
            self._numbers = _numbers(self._coco_api.dataset)
            self._truth = hotcoco.COCO(_numbered(self._coco_api.dataset, self._numbers))
        elif self._coco_api is not None:
            # pycocotools needs annotations numbered from 1, each with iscrowd.
            annotations = self._coco_api.dataset['annotations']
            for number, annotation in enumerate(annotations, 1):
                annotation.update(id=number, iscrowd=int(annotation.get('iscrowd', 0)))
            self._coco_api.anns = dict(enumerate(annotations, 1))

    def compute_metrics(self, results: Sequence[Any]) -> dict[str, float]:
        """Score all images; rounded to three digits, as in mmdet.

        Args:
            results: For each image its truth (not used, as the file has it) and its detections.
        """
        if self._truth is None:
            return super().compute_metrics(results)
        found = [detected for _, detected in results]
        categories = self.cat_ids = self._coco_api.get_cat_ids(
            cat_names=self.dataset_meta['classes']
        )
        if self.outfile_prefix is not None:
            self.results2json(found, self.outfile_prefix)
        images, classes = self._numbers['images'], self._numbers['categories']
        scored = [classes[category] for category in categories]
        rows = _rows(found, [images[one['img_id']] for one in found], scored)
        scores = hotcoco.COCOeval(self._truth, self._truth.load_res(rows), 'bbox')
        scores.params.cat_ids = scored
        scores.params.img_ids = [images[image] for image in self._coco_api.get_img_ids()]
        scores.params.max_dets = self.proposal_nums
        scores.evaluate()
        scores.accumulate()
        with warnings.catch_warnings():
            # We use mmdet's detection limits on purpose; they are not COCO's.
            warnings.filterwarnings('ignore', 'hotcoco: max_dets differ')
            # Without the table, which does not name the model; the scores are logged by name.
            scores.summary_lines()
        evaluated: Any = scores.eval
        figures = {'mAP': _mean_precision(evaluated['precision'])}
        figures.update(zip(ITEMS[1:], scores.stats[1:], strict=False))
        return {f'bbox_{name}': round(float(value), 3) for name, value in figures.items()}


def _mean_precision(precision: Any) -> float:
    """The mAP at the first detection limit, as pycocotools has it; hotcoco's is at the last.

    Args:
        precision: (IoUs, recalls, classes, areas, detection limits), -1 where undefined.
    """
    of_all_sizes = np.asarray(precision)[..., 0, 0]
    known = of_all_sizes[of_all_sizes > -1]
    return float(known.mean()) if known.size else -1.0


def _numbers(truth: Mapping[str, Any]) -> dict[str, dict[Any, int]]:
    """Numbers from 1 for the ids of images and categories, in order; ids may be text or huge."""
    return {
        part: {id_: i for i, id_ in enumerate(in_order(e['id'] for e in truth[part]), 1)}
        for part in ('images', 'categories')
    }


def _numbered(truth: Mapping[str, Any], numbers: Mapping[str, dict[Any, int]]) -> dict[str, Any]:
    """The part of the truth that box scores need, with numbers instead of ids."""
    images, categories = numbers['images'], numbers['categories']
    return {
        'images': [
            {'id': images[image['id']], **{k: int(image.get(k, 1)) for k in ('width', 'height')}}
            for image in truth['images']
        ],
        'categories': [
            {'id': categories[category['id']], 'name': str(category['name'])}
            for category in truth['categories']
        ],
        'annotations': [
            {
                'id': number,
                'image_id': images[annotation['image_id']],
                'category_id': categories[annotation['category_id']],
                'bbox': annotation['bbox'],
                'area': annotation['area'],
                'iscrowd': int(annotation.get('iscrowd', 0)),
            }
            for number, annotation in enumerate(truth['annotations'], 1)
            if annotation['image_id'] in images and annotation['category_id'] in categories
        ],
    }


def _rows(
    found: Sequence[Any], numbers: Sequence[int], categories: Sequence[int]
) -> NDArray[np.float64]:
    """One row for each detection: image, x, y, width, height, score, category."""
    images = [
        np.full(len(one['scores']), number, np.float64)
        for one, number in zip(found, numbers, strict=True)
    ]
    boxes = np.concatenate([one['bboxes'] for one in found]).astype(np.float64).reshape(-1, 4)
    labels = np.concatenate([one['labels'] for one in found])
    scores = np.concatenate([one['scores'] for one in found]).astype(np.float64)
    with np.errstate(invalid='ignore'):  # Infinite corners, which are left out below.
        sides = boxes[:, 2:] - boxes[:, :2]
    rows = np.column_stack(
        [
            np.concatenate(images),
            boxes[:, :2],
            sides,
            scores,
            np.asarray(categories)[labels],
        ]
    )
    finite = np.isfinite(rows).all(axis=1)
    if not finite.all():
        lost = f'{(~finite).sum()} of {len(rows)} detections have a nan or infinite value; left out'
        print_log(lost, 'current', logging.WARNING)
    return rows[finite]
