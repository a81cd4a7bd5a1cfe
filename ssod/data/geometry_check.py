"""Checks, when a pipeline is built, that each view records how it moves an image.

Pseudo-boxes are found in one view and projected into another with the views' ``homography_matrix``.
mmdet's Resize, FixShapeResize, RandomFlip, RandomCrop, Rotate, ShearX, ShearY, TranslateX and
TranslateY record theirs. RandomAffine, RandomShift, Expand, MinIoURandomCrop, RandomCenterCropPad,
Mosaic, MixUp, Albu and others do not, so pseudo-boxes would silently land in the wrong place. The
check runs each transform, whatever its name, so it covers a user's own ones too.
"""

import contextlib
import copy
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from mmcv.transforms import Compose, RandomApply, RandomChoice
from mmdet.datasets.transforms import RandomErasing
from mmdet.structures.bbox import BaseBoxes, HorizontalBoxes, bbox_project
from numpy.typing import NDArray
from torch import Tensor

from ssod.projection import clip_boxes

Transform = Callable[[dict[str, Any]], dict[str, Any] | None]
_Chain = Sequence[tuple[int | None, Transform]]

RUNS_ALONE = 10
"""How often each transform is tried alone, including those inside wrappers."""

RUNS_TOGETHER = 4
"""How often a whole view is tried; half the runs keep its probabilities, half set them to 1."""

PROBE_SHAPES = ((96, 128), (384, 512))
"""Height and width of the trial images; a crop of fixed size acts only on the larger one."""

TOLERANCE = 1.0
"""Pixels by which a box centre may be off."""

INSTEAD = (
    'use Resize, RandomResize, RandomFlip, RandomCrop, Rotate, ShearX, ShearY, TranslateX or '
    'TranslateY, or have it update homography_matrix'
)


def check_geometry(view: str, transforms: Sequence[Transform]) -> None:
    """Refuse a view that does not record in ``homography_matrix`` how it moves an image.

    The transforms run one after another on made-up images with many boxes. After each one, the
    boxes must be where the matrix says. They also run on images without boxes, because unlabelled
    images have none. The global random states and the transforms are left unchanged.

    Args:
        view: Name of the view, for messages.
        transforms: The transforms that make the view from a loaded image.

    Raises:
        ValueError: Names the view, the transform, what is wrong and what to use instead.
    """
    for transform in transforms:
        if any(hasattr(p, 'get_indexes') or hasattr(p, 'get_indices') for p in _parts(transform)):
            raise _error(view, transform, 'mixes in other images, which no matrix can record')
    by_chance, certain = copy.deepcopy(list(transforms)), copy.deepcopy(list(transforms))
    trials = _Trials(view)
    with _random_states_kept():
        for number, transform in enumerate(certain):
            parts = list(_parts(transform))
            for part in parts:
                _make_certain(part)
            # From the inside out, so that an error names the transform itself.
            for part in reversed(parts):
                trials.run_alone(part, number if part is transform else None)
        for run in range(RUNS_TOGETHER):
            _seed(run)
            acting = run < RUNS_TOGETHER // 2
            chain = list(enumerate(certain)) if acting else [(None, t) for t in by_chance]
            shape = PROBE_SHAPES[run % len(PROBE_SHAPES)]
            trials.run(chain, _probe(shape))
            trials.run(chain, _probe(shape, with_boxes=False))
    trials.judge(transforms)


class _State(NamedTuple):
    """What is compared before and after a transform."""

    image: NDArray[Any]
    boxes: Tensor
    labels: list[int]
    matrix: NDArray[np.float64]

    @classmethod
    def of(cls, results: dict[str, Any]) -> '_State':
        """The state that a pipeline's results are in."""
        boxes = results['gt_bboxes']
        tensor = boxes.tensor if isinstance(boxes, BaseBoxes) else torch.as_tensor(boxes)
        matrix = results.get('homography_matrix')
        return cls(
            # No copy: an image can be written into, but never change its size in place.
            image=np.asarray(results['img']),
            boxes=tensor.clone().float(),
            labels=[int(label) for label in results['gt_bboxes_labels']],
            matrix=np.eye(3) if matrix is None else np.asarray(matrix, np.float64),
        )


class _Trials:
    """Tries out a view, and remembers which transforms could be judged."""

    def __init__(self, view: str) -> None:
        self.view = view
        self._judged: set[tuple[int | None, bool]] = set()
        self._failures: dict[tuple[int | None, bool], str] = {}

    def run_alone(self, transform: Transform, number: int | None) -> None:
        """Try one transform, mostly on the small image, which is faster."""
        for run in range(RUNS_ALONE):
            _seed(run)
            self.run([(number, transform)], _probe(PROBE_SHAPES[run == RUNS_ALONE - 1]))

    def run(self, chain: _Chain, results: dict[str, Any]) -> None:
        """Try transforms on one image; an error if one misbehaves.

        A transform with a number passes once it has worked.
        """
        before = _State.of(results)
        with_boxes = bool(before.labels)
        for number, transform in chain:
            case = (number, with_boxes)
            try:
                view = transform(results)
                after = None if view is None else _State.of(view)
            except Exception as error:  # A user's transform may raise anything.
                # Not a failure yet: it may work on an image of another size.
                self._failures[case] = f'{type(error).__name__}: {error}'
                return
            if view is None or after is None:
                self._failures[case] = 'it returned nothing'
                return
            problem = _problem(before, after)
            if problem:
                raise _error(self.view, transform, problem)
            if after.labels or not with_boxes:
                self._judged.add(case)
            results, before = view, after

    def judge(self, transforms: Sequence[Transform]) -> None:
        """An error if a transform never worked."""
        for number, transform in enumerate(transforms):
            for with_boxes in (True, False):
                case = (number, with_boxes)
                if case in self._judged:
                    continue
                why = self._failures.get(case, 'it left no boxes')
                if with_boxes:
                    raise _error(self.view, transform, f'failed in a trial: {why}', 'fix it')
                what = f'failed on an image without boxes (unlabelled images have none): {why}'
                remedy = 'fix it (RandomCrop needs allow_negative_crop=True)'
                raise _error(self.view, transform, what, remedy)


def _error(view: str, transform: Transform, what: str, remedy: str = INSTEAD) -> ValueError:
    name, *inner = (type(part).__name__ for part in _parts(transform))
    name = f'{name}({", ".join(inner)})' if inner else name
    return ValueError(f'{view} view: {name} {what}; {remedy}')


def _problem(before: _State, after: _State) -> str | None:
    """What a transform did wrong, in words."""
    if len(after.labels) != len(after.boxes) or not set(after.labels) <= set(before.labels):
        return 'leaves boxes and labels that do not match'
    step = after.matrix @ np.linalg.inv(before.matrix)
    recorded = not np.allclose(step, np.eye(3), atol=1e-4)
    off = _misplacement(before, after, step)
    if off > TOLERANCE and recorded:
        return f'records a homography_matrix that misplaces boxes by {off:.0f} pixels'
    if off > TOLERANCE:
        return f'moves boxes by {off:.0f} pixels without recording it in homography_matrix'
    if not recorded and not _stays_in_place(before.image, after.image):
        return 'changes the size of the image without recording it in homography_matrix'
    return None


def _misplacement(before: _State, after: _State, step: NDArray[np.float64]) -> float:
    """Median distance of the box centres from where the matrix says, in pixels.

    Centres, because a wrapper that rotates twice takes the hull of a hull. The median, because one
    that moves boxes out of the image and back leaves them cut off.
    """
    row = {label: number for number, label in enumerate(before.labels)}
    height, width = after.image.shape[:2]
    boxes = before.boxes[[row[label] for label in after.labels]]
    wanted = bbox_project(boxes, torch.from_numpy(step).float(), (height, width))
    found = clip_boxes(after.boxes, (height, width))
    visible = ((found[:, 2:] > found[:, :2]) & (wanted[:, 2:] > wanted[:, :2])).all(dim=1)
    if not visible.any():
        return 0.0
    off = (found[:, :2] + found[:, 2:] - wanted[:, :2] - wanted[:, 2:])[visible] / 2
    return float(off.abs().amax(dim=1).median())


def _stays_in_place(before: NDArray[Any], after: NDArray[Any]) -> bool:
    """Whether an image kept its size, or was only cut or padded at the right and the bottom."""
    if before.shape[:2] == after.shape[:2]:
        return True
    height, width = np.minimum(before.shape[:2], after.shape[:2])
    old, new = (image[:height, :width].mean(axis=2).ravel() for image in (before, after))
    # Colours may have changed as well, so compare only the pattern; the probe is pure noise.
    return bool(abs(np.corrcoef(old, new)[0, 1]) > 0.3)


def _probe(shape: tuple[int, int], with_boxes: bool = True) -> dict[str, Any]:
    """A loaded image of noise with a grid of boxes, each with its own label."""
    height, width = shape
    side = height / 8
    x, y = np.meshgrid(np.linspace(0, width - side, 12), np.linspace(0, height - side, 9))
    grid = np.stack([x, y, x + side, y + side], axis=-1).reshape(-1, 4)
    corners = grid[: len(grid) if with_boxes else 0].astype(np.float32)
    return {
        'img': np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8),
        'img_id': 0,
        'img_path': 'probe.png',
        'img_shape': shape,
        'ori_shape': shape,
        'height': height,
        'width': width,
        'gt_bboxes': HorizontalBoxes(corners),
        'gt_bboxes_labels': np.arange(len(corners)),
        'gt_ignore_flags': np.zeros(len(corners), bool),
        # As if already resized and cropped: a transform must add to what is recorded.
        'homography_matrix': np.array([[0.5, 0, -3], [0, 0.5, -5], [0, 0, 1]], np.float32),
    }


def _parts(transform: Any) -> Iterator[Transform]:
    """A transform and those it wraps, if it only runs some of them."""
    if isinstance(transform, list | tuple):
        for part in transform:
            yield from _parts(part)
        return
    if type(transform) is not Compose:
        yield transform
    if isinstance(transform, (Compose, RandomApply, RandomChoice)):
        yield from _parts(transform.transforms)


def _make_certain(transform: Any) -> None:
    """Let a transform act every time; a rare one might slip through otherwise."""
    if isinstance(getattr(transform, 'prob', None), float) and transform.prob > 0:
        transform.prob = 1.0
    if isinstance(transform, RandomErasing):
        # mmdet's fails when it draws no patch; ours, which replaces it, does not.
        least, most = transform.n_patches
        transform.n_patches = max(1, least), most


def _seed(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed)
    torch.default_generator.manual_seed(seed)


@contextlib.contextmanager
def _random_states_kept() -> Iterator[None]:
    state, numpy_state = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        random.setstate(state)
        np.random.set_state(numpy_state)
