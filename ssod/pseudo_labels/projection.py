"""Boxes carried from one view of an image into another.

A box that is rotated or sheared is no box any more. Its axis-aligned hull, which mmdet takes, is
larger than the object: 1.5 times the area of a square at 15 degrees. A student that is taught hulls
learns boxes that are too large. An object seldom fills the corners of its box, so here the box is
taken for the ellipse inside it, and what is carried over is the ellipse's bounding box (Kalra et
al., Towards Rotation Invariance in Object Detection, ICCV 2021, section 3.2). Without rotation and
shear the two are the same.
"""

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

    The new box bounds the ellipse that the old one bounds. Where the homography has perspective,
    the ellipse is carried by the linear part at its centre.
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
        centres = (boxes[:, :2] + boxes[:, 2:]) / 2
        halves = (boxes[:, 2:] - boxes[:, :2]) / 2
        mapped = torch.cat([centres, torch.ones_like(centres[:, :1])], dim=1) @ matrix.T
        depth = mapped[:, 2:]
        centres = mapped[:, :2] / depth
        # The derivative of the homography at each centre, (N, 2, 2).
        linear = (matrix[:2, :2] - centres[:, :, None] * matrix[2, :2]) / depth[:, None]
        halves = (linear * halves[:, None]).norm(dim=2)
        projected = torch.cat([centres - halves, centres + halves], dim=1)
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
    boxes = project_boxes(instances.bboxes, matrix, img_shape)
    large = (boxes[:, 2:] - boxes[:, :2] >= min_size).all(dim=1)
    projected = instances[large]
    projected.bboxes = boxes[large]
    return projected
