"""Projects boxes from one view of an image into another.

A rotated or sheared box is no longer a box. Its axis-aligned hull, which mmdet uses, is larger than
the object: 1.5 times the area of a square at 15 degrees. A student that learns from hulls learns
boxes that are too large. An object seldom fills the corners of its box, so here the box stands for
the ellipse inside it, and the result is that ellipse's bounding box (Kalra et al., Towards Rotation
Invariance in Object Detection, ICCV 2021, section 3.2). Without rotation and shear the two are the
same.
"""

from collections.abc import Sequence

import numpy as np
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from torch import Tensor


def file_to_view(view: DetDataSample) -> Tensor:
    """The homography from an image file's pixels to a view's.

    It is the view's ``homography_matrix``; a view without one is the file as it is.

    Returns:
        A (3, 3) float64 matrix on the CPU.
    """
    matrix = view.metainfo.get('homography_matrix', np.eye(3))
    return torch.from_numpy(np.array(matrix, dtype=np.float64))


def view_to_view(source: DetDataSample, target: DetDataSample) -> Tensor:
    """The homography from one view of an image to another view of it.

    Returns:
        A (3, 3) float32 matrix on the CPU, computed in float64.
    """
    # NumPy inverts so small a matrix ten times as fast as torch.
    to_file = torch.from_numpy(np.linalg.inv(file_to_view(source).numpy()))
    return (file_to_view(target) @ to_file).float()


def project_boxes(
    boxes: Tensor, matrix: Tensor, img_shape: tuple[int, int] | None = None
) -> Tensor:
    """Project boxes by a homography.

    The new box bounds the projection of the ellipse that the old one bounds. If the homography has
    perspective, its linear part at the box's centre is used. Computes in float32 even under
    autocast: bfloat16 would move a box by up to 12 pixels.

    Args:
        boxes: (N, 4) as x1, y1, x2, y2 in pixels.
        matrix: (3, 3) homography, from the boxes' view to the wanted one, or one for each box,
            (N, 3, 3).
        img_shape: Height and width to clip to; not clipped if ``None``.

    Returns:
        (N, 4) float32 boxes on the device of ``boxes``.
    """
    with torch.autocast(boxes.device.type, enabled=False):
        boxes = boxes.float()
        matrix = matrix.to(boxes.device, torch.float32, non_blocking=True)
        centres = (boxes[:, :2] + boxes[:, 2:]) / 2
        halves = (boxes[:, 2:] - boxes[:, :2]) / 2
        mapped = matrix[..., :2] @ centres[:, :, None] + matrix[..., 2:]
        depth = mapped[:, 2:]
        centres = (mapped[:, :2] / depth)[:, :, 0]
        # The derivative of the homography at each centre, (N, 2, 2).
        linear = (matrix[..., :2, :2] - centres[:, :, None] * matrix[..., 2:, :2]) / depth
        halves = (linear * halves[:, None]).norm(dim=2)
        projected = torch.cat([centres - halves, centres + halves], dim=1)
        return projected if img_shape is None else clip_boxes(projected, img_shape)


def clip_boxes(boxes: Tensor, img_shape: tuple[int, int]) -> Tensor:
    """Clip boxes (N, 4) to an image of ``img_shape`` (height, width)."""
    height, width = img_shape[:2]
    limit = torch.tensor([width, height, width, height], dtype=boxes.dtype)
    return boxes.clamp(min=0).minimum(limit.to(boxes.device, non_blocking=True))


def share_inside(boxes: Tensor, img_shape: tuple[int, int]) -> Tensor:
    """Share (N,) of the area of boxes (N, 4) that is inside an image of ``img_shape``."""
    inside = clip_boxes(boxes, img_shape)
    visible = (inside[:, 2:] - inside[:, :2]).clamp(min=0).prod(dim=1)
    return visible / (boxes[:, 2:] - boxes[:, :2]).prod(dim=1).clamp(min=1e-6)


def clip_boxes_of_images(
    boxes: Tensor, img_shapes: Sequence[tuple[int, int]], images: Tensor
) -> Tensor:
    """Clip boxes (N, 4) to several images; ``images`` (N,) holds the number of each box's image.

    Args:
        boxes: (N, 4).
        img_shapes: Height and width of each image.
        images: (N,) int64, on the device of ``boxes``.
    """
    limits = torch.tensor([(shape[1], shape[0]) * 2 for shape in img_shapes], dtype=boxes.dtype)
    limits = limits.to(boxes.device, non_blocking=True)
    return boxes.clamp(min=0).minimum(limits[images])


def project_instances(
    instances: Sequence[InstanceData],
    matrices: Sequence[Tensor],
    img_shapes: Sequence[tuple[int, int]],
    min_size: float,
) -> list[InstanceData]:
    """Project the pseudo-boxes of some images into other views, clip them, and drop tiny ones.

    Args:
        instances: For each image, with ``bboxes`` (N, 4) in the view they were found in.
        matrices: For each image the (3, 3) homography between the views, see :func:`view_to_view`.
        img_shapes: Height and width of each target view.
        min_size: Least width and height in pixels of the boxes that remain.

    Returns:
        New ``InstanceData`` with float32 boxes; ``instances`` are unchanged.
    """
    boxes = torch.cat([of_image.bboxes for of_image in instances])
    counts = torch.tensor([len(of_image) for of_image in instances])
    images = torch.arange(len(counts)).repeat_interleave(counts)
    boxes = project_boxes(boxes, torch.stack(list(matrices))[images])
    boxes = clip_boxes_of_images(boxes, img_shapes, images.to(boxes.device, non_blocking=True))
    # The one wait for the GPU.
    large = (boxes[:, 2:] - boxes[:, :2] >= min_size).all(dim=1).cpu().nonzero()[:, 0]
    first = counts.cumsum(0) - counts
    projected = []
    for i, of_image in enumerate(instances):
        rows = large[images[large] == i]
        kept = of_image[(rows - first[i]).to(boxes.device, non_blocking=True)]
        kept.bboxes = boxes[rows.to(boxes.device, non_blocking=True)]
        projected.append(kept)
    return projected
