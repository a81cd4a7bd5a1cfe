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
from numpy.typing import NDArray
from torch import Tensor

from ssod.instances import images_of_boxes, split_instances


def file_to_view(view: DetDataSample) -> Tensor:
    """The homography from an image file's pixels to a view's.

    It is the view's ``homography_matrix``; a view without one is the file as it is.

    Returns:
        A (3, 3) float64 matrix on the CPU.
    """
    return torch.from_numpy(_homography(view))


def _homography(view: DetDataSample) -> NDArray[np.float64]:
    return np.array(view.metainfo.get('homography_matrix', np.eye(3)), dtype=np.float64)


def view_to_view(sources: Sequence[DetDataSample], targets: Sequence[DetDataSample]) -> Tensor:
    """The homographies from views of some images to other views of them.

    Args:
        sources: A view of each image.
        targets: Another view of each image.

    Returns:
        (B, 3, 3) float32 matrices on the CPU, computed in float64.
    """
    of_sources, of_targets = (
        np.stack([_homography(view) for view in views]) for views in (sources, targets)
    )
    # NumPy inverts so small matrices ten times as fast as torch.
    matrices = of_targets @ np.linalg.inv(of_sources)
    return torch.from_numpy(matrices.astype(np.float32))


def project_boxes(
    boxes: Tensor, matrix: Tensor, img_shape: tuple[int, int] | Tensor | None = None
) -> Tensor:
    """Project boxes by a homography.

    The new box bounds the projection of the ellipse that the old one bounds. If the homography has
    perspective, its linear part at the box's centre is used. Computes in float32 even under
    autocast: bfloat16 would move a box by up to 12 pixels.

    Args:
        boxes: (N, 4) as x1, y1, x2, y2 in pixels.
        matrix: (3, 3) homography, from the boxes' view to the wanted one, or one for each box,
            (N, 3, 3).
        img_shape: Height and width to clip to, see :func:`clip_boxes`; not clipped if ``None``.

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


def clip_boxes(boxes: Tensor, img_shape: tuple[int, int] | Tensor) -> Tensor:
    """Clip boxes to their image.

    Args:
        boxes: (..., 4).
        img_shape: Height and width of their image, or of each box's, (..., 2).
    """
    sizes = img_shape if isinstance(img_shape, Tensor) else torch.tensor(img_shape[:2])
    limits = torch.cat([sizes.flip(-1)] * 2, dim=-1)
    return boxes.clamp(min=0).minimum(limits.to(boxes.device, boxes.dtype, non_blocking=True))


def share_inside(boxes: Tensor, img_shape: tuple[int, int] | Tensor) -> Tensor:
    """Share (N,) of the area of boxes (N, 4) that is inside their image; see :func:`clip_boxes`."""
    inside = clip_boxes(boxes, img_shape)
    visible = (inside[:, 2:] - inside[:, :2]).clamp(min=0).prod(dim=1)
    return visible / (boxes[:, 2:] - boxes[:, :2]).prod(dim=1).clamp(min=1e-6)


def project_instances(
    instances: Sequence[InstanceData],
    matrices: Tensor,
    img_shapes: Sequence[tuple[int, int]],
    min_size: float,
) -> list[InstanceData]:
    """Project the pseudo-boxes of some images into other views, clip them, and drop tiny ones.

    Args:
        instances: For each image, with ``bboxes`` (N, 4) in the view they were found in.
        matrices: (B, 3, 3) homographies between the views, see :func:`view_to_view`.
        img_shapes: Height and width of each target view.
        min_size: Least width and height in pixels of the boxes that remain.

    Returns:
        New ``InstanceData`` with float32 boxes; ``instances`` are unchanged.
    """
    counts = [len(of_image) for of_image in instances]
    images = images_of_boxes(counts)
    together = InstanceData.cat(list(instances))
    shapes = torch.tensor([shape[:2] for shape in img_shapes])[images]
    boxes = project_boxes(together.bboxes, matrices[images], shapes)
    # The one wait for the GPU.
    large = (boxes[:, 2:] - boxes[:, :2] >= min_size).all(dim=1).cpu()
    rows = large.nonzero()[:, 0].to(boxes.device, non_blocking=True)
    kept = together[rows]
    kept.bboxes = boxes[rows]
    return split_instances(kept, images[large].bincount(minlength=len(counts)).tolist())
