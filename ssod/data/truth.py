"""The true boxes of an image, from its annotation file."""

from collections.abc import Mapping
from typing import Any

import torch
from mmengine.structures import InstanceData


def truth_of(info: Mapping[str, Any], ignored: bool = False) -> InstanceData:
    """The boxes of the annotation file, in pixels of the image on disk.

    The boxes of the loaded sample do not serve: the pipeline may have resized them with the image.

    Args:
        info: One image, as returned by a data set's ``get_data_info``.
        ignored: Whether to return the ignored boxes, such as crowds, instead of the others.
    """
    instances = [x for x in info.get('instances', []) if bool(x.get('ignore_flag')) == ignored]
    boxes = torch.tensor([x['bbox'] for x in instances], dtype=torch.float32).reshape(-1, 4)
    labels = torch.tensor([x['bbox_label'] for x in instances], dtype=torch.long)
    return InstanceData(bboxes=boxes, labels=labels)
