"""The true boxes of an image, as its annotation file has them."""

from collections.abc import Mapping
from typing import Any

import torch
from mmengine.structures import InstanceData


def truth_of(info: Mapping[str, Any], ignored: bool = False) -> InstanceData:
    """The boxes of the annotation file, in pixels of the image as it is on the disk.

    Those of the loaded sample will not do: the pipeline may have resized them with the image.

    Args:
        info: Of one image, as ``get_data_info`` of a data set gives it.
        ignored: Whether those that do not count, such as crowds, are wanted, or the others.
    """
    instances = [x for x in info.get('instances', []) if bool(x.get('ignore_flag')) == ignored]
    boxes = torch.tensor([x['bbox'] for x in instances], dtype=torch.float32).reshape(-1, 4)
    labels = torch.tensor([x['bbox_label'] for x in instances], dtype=torch.long)
    return InstanceData(bboxes=boxes, labels=labels)
