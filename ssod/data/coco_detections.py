"""Detections as COCO JSON, whose annotations have a score."""

from collections.abc import Mapping, Sequence
from typing import Any

from mmdet.structures import DetDataSample

from ssod.projection import clip_boxes

Entry = dict[str, Any]
"""One image: ``file_name``, ``size`` (height, width), and its ``boxes``, ``scores``, ``labels``."""


def entry_of(sample: DetDataSample, file_name: str, min_score: float) -> Entry:
    """What a model found in one image.

    Args:
        sample: With ``pred_instances`` in pixels of the image file.
        file_name: Name of the file.
        min_score: Boxes with lower scores are left out, in [0, 1], as are boxes outside the image.
    """
    found = sample.pred_instances
    found = found[(found.scores >= min_score) & found.bboxes.isfinite().all(dim=1)]
    # Some detectors give boxes that reach outside the image, or lie only in the padding.
    inside = clip_boxes(found.bboxes, sample.ori_shape[:2]).tolist()
    boxes = [[round(x, 2) for x in box] for box in inside]
    kept = [i for i, (x1, y1, x2, y2) in enumerate(boxes) if x2 > x1 and y2 > y1]
    scores, labels = found.scores.tolist(), found.labels.tolist()
    return {
        'file_name': file_name,
        'size': [int(side) for side in sample.ori_shape[:2]],
        'boxes': [boxes[i] for i in kept],
        'scores': [round(scores[i], 4) for i in kept],
        'labels': [labels[i] for i in kept],
    }


def coco_of_detections(
    entries: Sequence[Entry], classes: Sequence[str], info: Mapping[str, Any]
) -> dict[str, Any]:
    """The content of a COCO JSON.

    Args:
        entries: The images, with their boxes.
        classes: Name of each label.
        info: Where the boxes come from.

    Returns:
        ``info``, ``images``, ``annotations`` with a ``score`` each, and ``categories``; ids begin
        at 1.
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, entry in enumerate(entries, 1):
        height, width = entry['size']
        image = {'id': number, 'file_name': entry['file_name'], 'height': height, 'width': width}
        images.append(image)
        of_image = zip(entry['boxes'], entry['scores'], entry['labels'], strict=True)
        for (x1, y1, x2, y2), score, label in of_image:
            sides = [round(x2 - x1, 2), round(y2 - y1, 2)]
            # With fewer digits than both sides have, a sliver would be written without an area.
            area = round(sides[0] * sides[1], 4)
            annotations.append(
                {
                    'id': len(annotations) + 1,
                    'image_id': number,
                    'category_id': label + 1,
                    'bbox': [x1, y1, *sides],
                    'area': area,
                    'iscrowd': 0,
                    'score': score,
                }
            )
    categories = [{'id': i, 'name': name} for i, name in enumerate(classes, 1)]
    return {
        'info': dict(info),
        'images': images,
        'annotations': annotations,
        'categories': categories,
    }
