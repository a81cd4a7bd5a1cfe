"""Which detections are right, and what is wrong with the others.

The kinds of errors are those of TIDE (Bolya et al., TIDE: A General Toolbox for Identifying Object
Detection Errors, ECCV 2020, section 2.2), with its overlaps of 0.5 and 0.1.
"""

from typing import Literal, NamedTuple

from mmdet.structures.bbox import bbox_overlaps
from mmengine.structures import InstanceData

Kind = Literal['right', 'wrong class', 'wrong place', 'found twice', 'background', 'ignored']

FOUND = 0.5
"""IoU from which on a box finds an object."""
NEAR = 0.1
"""IoU below which a box has nothing to do with an object."""


class Verdict(NamedTuple):
    """Whether a detection is right, or its kind of error.

    Args:
        kind: ``right``; ``wrong class``: on an object of another class; ``wrong place``: beside an
            object; ``found twice``: on an object that a box with a higher score has found;
            ``background``: on nothing; ``ignored``: on a crowd of its class, neither right nor
            wrong.
        truth: Index of the true box that it is on or beside; ``None`` if there is none.
    """

    kind: Kind
    truth: int | None


def judge(
    found: InstanceData, truth: InstanceData, crowds: InstanceData | None = None
) -> list[Verdict]:
    """Judge the detections of one image.

    Boxes are matched in order of score, each with the free true box of its class that it overlaps
    most.

    Args:
        found: With ``bboxes`` (N, 4), ``scores`` (N,) and ``labels`` (N,).
        truth: With ``bboxes`` (M, 4) and ``labels`` (M,).
        crowds: Ignored true boxes; a detection with half of its area in one of its class is ignored
            too, as in COCO's scores.

    Returns:
        A verdict for each detection, in the order of ``found``.
    """
    # Plain numbers, because tensors take longer for the few boxes of a training step.
    overlaps = bbox_overlaps(found.bboxes.float(), truth.bboxes.float()).tolist()
    labels, true_labels = found.labels.tolist(), truth.labels.tolist()
    hidden = _inside(found, crowds) if crowds else [False] * len(found)
    verdicts = [Verdict('background', None)] * len(found)
    free = list(range(len(truth)))
    for i in found.scores.argsort(descending=True, stable=True).tolist():
        shares = overlaps[i]
        own = [j for j in free if true_labels[j] == labels[i] and shares[j] >= FOUND]
        if own:
            best = max(own, key=shares.__getitem__)
            free.remove(best)
            verdicts[i] = Verdict('right', best)
        elif hidden[i]:
            verdicts[i] = Verdict('ignored', None)
        elif shares and max(shares) >= NEAR:
            best = shares.index(max(shares))
            verdicts[i] = Verdict(_wrong(shares[best], labels[i] == true_labels[best]), best)
    return verdicts


def _wrong(overlap: float, same: bool) -> Kind:
    """The error of a box that is on or beside an object."""
    if overlap < FOUND:
        return 'wrong place'
    return 'found twice' if same else 'wrong class'


def _inside(found: InstanceData, crowds: InstanceData) -> list[bool]:
    """Which detections have at least half of their area in a crowd of their class."""
    shares = bbox_overlaps(found.bboxes.float(), crowds.bboxes.float(), mode='iof')
    shares = shares * (found.labels[:, None] == crowds.labels)
    of_found: list[bool] = (shares >= FOUND).any(dim=1).tolist()
    return of_found
