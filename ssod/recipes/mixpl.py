"""MixPL (Chen et al. 2023, Mixed Pseudo Labels for Semi-Supervised Object Detection).

Pseudo-mixup blends each strong view with an earlier one: objects that the teacher missed are then
half as visible, and do less harm as background. Pseudo-mosaic puts four views into one image at a
smaller scale, so there are more small objects with pseudo-boxes.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from mmdet.registry import HOOKS, MODELS
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import bbox_flip, bbox_overlaps
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmengine.structures import InstanceData
from torch import Tensor

from ssod.data.branches import Branch, pop_branch, put_branch
from ssod.losses.named import Losses, named
from ssod.models.features import Features, features_of
from ssod.models.semi_supervised_detector import SemiSupervisedDetector, unwrap
from ssod.strict import check_ranges, strict_settings

MOSAIC = 'mosaic'
"""Metainfo of a sample that is a mosaic."""
PARTS = 4
"""Number of images in a mosaic."""


class Lesson(NamedTuple):
    """An image and its pseudo-boxes.

    Args:
        image: (3, H, W) uint8, BGR; stored on the CPU, mixed on the model's device.
        instances: ``bboxes`` (N, 4) float32 in the image's pixels, ``labels`` (N,) and any other
            fields, all tensors; on the CPU, where nothing has to wait for them.
        path: The image's file.
    """

    image: Tensor
    instances: InstanceData
    path: str

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        return self.image.shape[1], self.image.shape[2]


def fit(lesson: Lesson, shape: tuple[int, int]) -> Lesson:
    """A lesson resized to fit into ``shape`` (height, width), by nearest neighbours."""
    (height, width), (most_rows, most_columns) = lesson.shape, shape
    scale = min(most_rows / height, most_columns / width)
    rows = max(1, min(most_rows, round(height * scale)))
    columns = max(1, min(most_columns, round(width * scale)))
    image = F.interpolate(lesson.image[None], size=(rows, columns))[0]
    factors = torch.tensor([columns / width, rows / height]).repeat(2)
    return lesson._replace(image=image, instances=_with_boxes(lesson, lambda b: b * factors))


def flip(lesson: Lesson) -> Lesson:
    """A lesson flipped left to right."""
    instances = _with_boxes(lesson, lambda boxes: bbox_flip(boxes, lesson.shape))
    return lesson._replace(image=lesson.image.flip(2), instances=instances)


def erase(lesson: Lesson, patches: Sequence[Sequence[int]], colour: Tensor, most: float) -> Lesson:
    """A lesson with patches of one colour, without the boxes that they hide.

    Args:
        lesson: The original, which is not changed.
        patches: Each as x1, y1, x2, y2 in whole pixels.
        colour: (3, 1, 1) uint8.
        most: Boxes with at least this share of their area under patches are dropped; overlapping
            patches are counted separately, as in the original.
    """
    image = lesson.image.clone()
    for x1, y1, x2, y2 in patches:
        image[:, y1:y2, x1:x2] = colour
    boxes = lesson.instances.bboxes
    holes = torch.tensor(patches, dtype=torch.float32).reshape(-1, 4)
    hidden = bbox_overlaps(boxes, holes, mode='iof').sum(dim=1)
    return lesson._replace(image=image, instances=lesson.instances[hidden < most])


def mix(
    lessons: tuple[Lesson, Lesson], corners: Sequence[tuple[int, int]], colour: Tensor
) -> Lesson:
    """Pseudo-mixup: the mean of two images, and the boxes of both (the original's ``mixup``).

    Args:
        lessons: The two; the new image has the larger height and the larger width of them.
        corners: x and y of the upper left corner of each within the new image.
        colour: (3, 1, 1) uint8, the colour around the smaller one.
    """
    size = [max(lesson.shape[axis] for lesson in lessons) for axis in (0, 1)]
    total = torch.ones(3, *size, dtype=torch.int16, device=colour.device)
    for lesson, (x, y) in zip(lessons, corners, strict=True):
        canvas = colour.repeat(1, *size)
        canvas[:, y : y + lesson.shape[0], x : x + lesson.shape[1]] = lesson.image
        total += canvas
    # One more than the sum, so that halves are rounded up.
    return _together(lessons, corners, (total // 2).to(torch.uint8))


def mosaic(lessons: Sequence[Lesson], colour: Tensor) -> Lesson:
    """Pseudo-mosaic: four images around one point, boxes of all (the original's ``mosaic``).

    Args:
        lessons: Upper left, upper right, lower left and lower right. The quarters are as high and
            as wide as the largest; each image touches the middle with its inner corner.
        colour: (3, 1, 1) uint8, the colour of the rest.
    """
    height, width = (max(lesson.shape[axis] for lesson in lessons) for axis in (0, 1))
    image = colour.repeat(1, 2 * height, 2 * width)
    corners = []
    for number, lesson in enumerate(lessons):
        (rows, columns), (low, right) = lesson.shape, divmod(number, 2)
        x = width if right else width - columns
        y = height if low else height - rows
        image[:, y : y + rows, x : x + columns] = lesson.image
        corners.append((x, y))
    return _together(lessons, corners, image)


def _together(
    lessons: Sequence[Lesson], corners: Sequence[tuple[int, int]], image: Tensor
) -> Lesson:
    moved = []
    for lesson, corner in zip(lessons, corners, strict=True):
        shift = torch.tensor(corner, dtype=torch.float32).repeat(2)
        moved.append(_with_boxes(lesson, shift.__add__))
    return Lesson(image, InstanceData.cat(moved), ' + '.join(x.path for x in lessons))


def _with_boxes(lesson: Lesson, change: Callable[[Tensor], Tensor]) -> InstanceData:
    changed = lesson.instances[:]
    changed.bboxes = change(changed.bboxes)
    return changed


@HOOKS.register_module()
@strict_settings
class MixPLHook(Hook):
    """Mixes the strong views of each batch, with any kind of teacher.

    Patches of each strong view are erased, and the view is blended with an earlier one, which is
    scaled to the batch's size, flipped and erased too. Four more earlier views are appended as a
    mosaic. Then images without pseudo-boxes are dropped (one stays if none has any, see
    :class:`MixPL`). While there are too few earlier views, views are only erased. The hook runs
    after those that count pseudo-boxes or compare them with the truth, so these see the images as
    they are before mixing.

    It remembers as many views as a batch has strong ones, plus four. Those of the first rank are
    saved in the checkpoint, at most 5 MB each on COCO; a resumed run starts with these on all
    ranks.

    Args:
        mosaic_sides: Least and greatest height and width of a mosaic's quarter, in pixels.
        patches: Least and greatest number of erased patches per image.
        patch_side: Greatest height and width of a patch, as a share of the image's, in [0, 1).
        most_erased: Boxes with at least this share of their area erased are dropped, in (0, 1].
        flip: Whether earlier views are flipped.

    Raises:
        ValueError: If a setting is out of its range; when training, if the model is not a
            :class:`MixPL`.
    """

    priority = 'VERY_LOW'

    def __init__(
        self,
        mosaic_sides: Sequence[int] = (400, 800),
        patches: Sequence[int] = (1, 19),
        patch_side: float = 0.1,
        most_erased: float = 0.7,
        flip: bool = True,
    ) -> None:
        for name, pair, least in (('mosaic_sides', mosaic_sides, 1), ('patches', patches, 0)):
            whole = all(isinstance(number, int) for number in pair)
            rises = len(pair) == 2 and least <= pair[0] <= pair[1]
            wanted = f'two ascending whole numbers of at least {least}'
            check_ranges('MixPLHook', (name, pair, whole and rises, wanted))
        check_ranges(
            'MixPLHook',
            ('patch_side', patch_side, 0 <= patch_side < 1, 'in [0, 1)'),
            ('most_erased', most_erased, 0 < most_erased <= 1, 'in (0, 1]'),
        )
        self.mosaic_sides = mosaic_sides
        self.patches = patches
        self.patch_side = patch_side
        self.most_erased = most_erased
        self.flip = flip
        self.cache: list[Lesson] = []

    def before_train(self, runner: Runner) -> None:
        """Forget earlier views, unless the run is resumed, and find the padding colour."""
        model = unwrap(runner.model)
        if not isinstance(model, MixPL):
            raise ValueError(
                f'MixPLHook: the model is a {type(model).__name__}, which has no loss for mosaics; '
                f"use model.type='MixPL'"
            )
        if runner.iter == 0:
            self.cache.clear()
        colour = mean_colour(model.data_preprocessor.data_preprocessor)
        self._colour = colour.to(next(model.parameters()).device)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Mix the strong views."""
        strong = pop_branch(data_batch, 'strong')
        if strong['inputs']:
            put_branch(data_batch, 'strong', self.mixed(strong))

    def mixed(self, strong: Branch) -> Branch:
        """Mix strong views, and remember them; see the class."""
        samples = strong['data_samples']
        lessons = _lessons(strong)
        wanted = len(lessons) + PARTS
        learnt = [self._erased(self._here(lesson)) for lesson in lessons]
        extra: list[Lesson] = []
        if len(self.cache) >= wanted:
            size = tuple(max(lesson.shape[axis] for lesson in lessons) for axis in (0, 1))
            order = np.random.permutation(len(lessons)).tolist()
            others = [self._recalled(self.cache[place], size) for place in order]
            learnt = [self._mixed(pair) for pair in zip(learnt, others, strict=True)]
            low, high = self.mosaic_sides
            size = tuple(np.random.randint(low, high + 1, size=2).tolist())
            order = (len(lessons) + np.random.permutation(PARTS)).tolist()
            quarters = [self._recalled(self.cache[place], size) for place in order]
            extra = [mosaic(quarters, self._colour)]
        self.cache = [*self.cache, *lessons][-wanted:]
        kept = [i for i, lesson in enumerate(learnt) if len(lesson.instances)] or [0]
        pairs = [(learnt[i], samples[i]) for i in kept]
        pairs += [(lesson, DetDataSample(metainfo={MOSAIC: True})) for lesson in extra]
        return Branch(
            inputs=[lesson.image for lesson, _ in pairs],
            data_samples=[_sample(*pair) for pair in pairs],
        )

    def _mixed(self, pair: tuple[Lesson, Lesson]) -> Lesson:
        rows, columns = (max(lesson.shape[axis] for lesson in pair) for axis in (0, 1))
        corners = [
            (
                np.random.randint(columns - lesson.shape[1] + 1),
                np.random.randint(rows - lesson.shape[0] + 1),
            )
            for lesson in pair
        ]
        return mix(pair, corners, self._colour)

    def _recalled(self, lesson: Lesson, size: tuple[int, ...]) -> Lesson:
        """An earlier view, prepared for ``size`` (height, width)."""
        lesson = fit(self._here(lesson), (size[0], size[1]))
        return self._erased(flip(lesson) if self.flip else lesson)

    def _here(self, lesson: Lesson) -> Lesson:
        """A lesson with its image on the model's device."""
        return lesson._replace(image=lesson.image.to(self._colour.device, non_blocking=True))

    def _erased(self, lesson: Lesson) -> Lesson:
        height, width = lesson.shape
        fewest, most = self.patches
        holes = []
        for share in np.random.rand(np.random.randint(fewest, most + 1)) * self.patch_side:
            rows, columns = int(height * share), int(width * share)
            x, y = np.random.randint(width - columns), np.random.randint(height - rows)
            holes.append([x, y, x + columns, y + rows])
        return erase(lesson, holes, self._colour, self.most_erased)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Save the remembered views."""
        checkpoint['mixpl'] = [
            {'image': x.image.clone(), 'path': x.path, **dict(x.instances.items())}
            for x in self.cache
        ]

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Restore the remembered views."""
        self.cache = [_remembered(entry) for entry in checkpoint.get('mixpl', [])]


def mean_colour(preprocessor: Any) -> Tensor:
    """The colour (3, 1, 1) uint8 that equals a preprocessor's padding once normalized.

    Args:
        preprocessor: A detector's own; its mean is in the channel order after conversion.
    """
    if not getattr(preprocessor, '_enable_normalize', False):
        return torch.full((3, 1, 1), getattr(preprocessor, 'pad_value', 0), dtype=torch.uint8)
    mean: Tensor = preprocessor.mean
    mean = mean.flip(0) if preprocessor._channel_conversion else mean
    return mean.round().to(torch.uint8).expand(3, 1, 1)


def _lessons(strong: Branch) -> list[Lesson]:
    """The strong views of a batch; all their boxes are moved to the CPU at once."""
    samples = strong['data_samples']
    boxes = [sample.gt_instances for sample in samples]
    together = InstanceData.cat(boxes).cpu()
    lessons, start = [], 0
    for image, sample, of_image in zip(strong['inputs'], samples, boxes, strict=True):
        end = start + len(of_image)
        path = str(sample.get('img_path'))
        lessons.append(Lesson(_bytes(image.cpu()), together[start:end], path))
        start = end
    return lessons


def _bytes(image: Tensor) -> Tensor:
    """An image in bytes, clamped: some transforms give values outside 0 to 255."""
    return image if image.dtype == torch.uint8 else image.round().clamp(0, 255).to(torch.uint8)


def _remembered(entry: Mapping[str, Any]) -> Lesson:
    boxes = {k: v.cpu() for k, v in entry.items() if k not in ('image', 'path')}
    return Lesson(entry['image'].cpu(), InstanceData(**boxes), entry['path'])


def _sample(lesson: Lesson, sample: DetDataSample) -> DetDataSample:
    """The sample of a mixed image, without a homography: several images have no common one."""
    sample.pop('homography_matrix', None)
    sample.set_metainfo({'img_shape': lesson.shape, 'img_path': lesson.path})
    sample.gt_instances = lesson.instances
    return sample


@MODELS.register_module()
@strict_settings
class MixPL(SemiSupervisedDetector):
    """A student and a teacher for :class:`MixPLHook`, with separate losses for mosaics.

    Features are computed in one pass, but the heads' losses once for the blended images and once
    for the mosaic, so each is normalized by its own boxes as in the original. If the images of a
    part have no pseudo-boxes, its loss counts 0, because it would teach only background.

    Args:
        detector: Config of any mmdet detector, for student and teacher alike.
        data_preprocessor: Config of a
            :class:`~ssod.models.two_stream_preprocessor.TwoStreamPreprocessor`.
        pseudo_weight: λ, a number or a schedule over the iterations since the burn-in.
        mosaic_weight: Weight of the mosaic's loss, besides λ; at least 0.

    Raises:
        ValueError: If ``mosaic_weight`` is negative.
    """

    def __init__(
        self,
        detector: dict[str, Any],
        data_preprocessor: dict[str, Any],
        pseudo_weight: float | Mapping[str, Any] = 2.0,
        mosaic_weight: float = 0.5,
    ) -> None:
        super().__init__(detector, data_preprocessor, pseudo_weight)
        check_ranges('MixPL', ('mosaic_weight', mosaic_weight, mosaic_weight >= 0, 'at least 0'))
        self.mosaic_weight = mosaic_weight

    def pseudo_loss(
        self, features: Features, inputs: Tensor, strong: list[DetDataSample]
    ) -> Losses:
        """The student's losses on blended images and mosaics, without λ; see the base class."""
        border = sum(not sample.get(MOSAIC, False) for sample in strong)
        losses: Losses = {}
        for name, start, end, weight in (
            ('mixup', 0, border, 1.0),
            ('mosaic', border, len(strong), self.mosaic_weight),
        ):
            part = strong[start:end]
            if not part:
                continue
            weight *= any(len(sample.gt_instances) for sample in part)
            own = super().pseudo_loss(features_of(features, start, end), inputs[start:end], part)
            own = {key: value for key, value in own.items() if 'loss' in key}
            losses |= named(name, own, weight)
        return losses
