"""Boxes carried from one view of an image into another."""

import numpy as np
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from torch import Tensor


def view_to_view(source: DetDataSample, target: DetDataSample) -> Tensor:
    """The homography from one view of an image to another view of it.

    Each view's ``homography_matrix`` (3, 3) maps the image file's pixels to the view's; a view
    without one is the file as it is.

    Returns:
        A (3, 3) float32 matrix on the CPU, computed in float64.
    """
    identity = np.eye(3)
    to_source = np.asarray(source.metainfo.get('homography_matrix', identity), dtype=np.float64)
    to_target = np.asarray(target.metainfo.get('homography_matrix', identity), dtype=np.float64)
    return torch.from_numpy(to_target @ np.linalg.inv(to_source)).float()


def project_boxes(
    boxes: Tensor, matrix: Tensor, img_shape: tuple[int, int] | None = None
) -> Tensor:
    """Project boxes by a homography.

    A rotated or sheared box is replaced by its axis-aligned hull, which is larger than the object:
    1.5 times the area of a square at 15 degrees. mmdet moves labelled boxes in the same way.
    The arithmetic is float32 whatever the surrounding autocast says: bfloat16 would move a box by
    up to 12 pixels.

    Args:
        boxes: (N, 4) as x1, y1, x2, y2 in pixels.
        matrix: (3, 3) homography, from the boxes' view to the wanted one.
        img_shape: Height and width to clip to; not clipped if ``None``.

    Returns:
        (N, 4) float32 boxes on the device of ``boxes``.
    """
    with torch.autocast(boxes.device.type, enabled=False):
        boxes = boxes.float()
        matrix = matrix.to(boxes.device, torch.float32, non_blocking=True)
        x = boxes[:, [0, 2, 2, 0]]
        y = boxes[:, [1, 1, 3, 3]]
        corners = torch.stack([x, y, torch.ones_like(x)], dim=-1) @ matrix.T
        corners = corners[..., :2] / corners[..., 2:]
        projected = torch.cat([corners.amin(dim=1), corners.amax(dim=1)], dim=1)
        return projected if img_shape is None else clip_boxes(projected, img_shape)


def clip_boxes(boxes: Tensor, img_shape: tuple[int, int]) -> Tensor:
    """Boxes (N, 4) cut at the borders of an image of ``img_shape`` (height, width)."""
    height, width = img_shape[:2]
    limit = boxes.new_tensor([width, height, width, height])
    return boxes.clamp(min=0).minimum(limit)


def project_instances(
    instances: InstanceData, matrix: Tensor, img_shape: tuple[int, int], min_size: float
) -> InstanceData:
    """One image's pseudo-boxes in another view: projected, clipped, tiny ones dropped.

    Args:
        instances: With ``bboxes`` (N, 4) in the view they were found in.
        matrix: (3, 3) homography between the views, see :func:`view_to_view`.
        img_shape: Height and width of the wanted view.
        min_size: Least width and height in pixels of what remains.

    Returns:
        A new ``InstanceData`` with float32 boxes; ``instances`` stays as it was.
    """
    projected = instances[:]
    projected.bboxes = project_boxes(instances.bboxes, matrix, img_shape)
    sides = projected.bboxes[:, 2:] - projected.bboxes[:, :2]
    return projected[(sides >= min_size).all(dim=1)]
