"""When each alarm begins: the conditions alone, without the measuring."""

import math
from collections.abc import Iterator, Mapping, Sequence
from statistics import median

from ssod.teachers.box_counts import BoxCounts, PseudoCounts
from ssod.teachers.limits import Limits

EXPECTED = 10
"""Expected boxes of a class from which its share, or its absence, is more than chance."""
JUDGED = 50
"""Fewest pseudo-boxes whose mean score is judged."""
NOISE = 0.01
"""A difference of two mAPs (0 to 1) up to this is never an alarm."""


Seen = dict[str, str | None]
"""The alarms that were checked, each with what was found, or ``None`` if all is well."""


def figures(pseudo: PseudoCounts, labeled: BoxCounts) -> dict[str, float]:
    """The figures that the alarms about pseudo-boxes compare; nan where there is no data.

    Returns:
        ``images``: share of the unlabelled images with pseudo-boxes; ``boxes``: boxes in an
        unlabelled image over those in a labelled one; ``classes``: see :func:`histogram_distance`;
        ``missing``: share of the expected classes that never appeared; ``scores``: mean score.
    """
    absent, due = missing_classes(pseudo, labeled)
    usual = pseudo.images * labeled.boxes
    return {
        'images': pseudo.with_boxes / pseudo.images if pseudo.images else math.nan,
        'boxes': pseudo.boxes * labeled.images / usual if usual else math.nan,
        'classes': histogram_distance(pseudo, labeled),
        'missing': len(absent) / due if due else math.nan,
        'scores': pseudo.mean,
    }


def judge_boxes(
    pseudo: PseudoCounts, labeled: BoxCounts, names: Sequence[str], limits: Limits
) -> Seen:
    """Compare the pseudo-boxes with the labelled boxes.

    Args:
        pseudo: Counts of the unlabelled images.
        labeled: Counts of the labelled images.
        names: Names of the classes.
        limits: Where the alarms begin.

    Returns:
        ``images``, ``few_boxes``, ``many_boxes``, ``classes`` and ``missing``.
    """
    seen: Seen = dict.fromkeys(('images', 'few_boxes', 'many_boxes', 'classes', 'missing'))
    if not pseudo.images or not labeled.boxes:
        return seen
    taught, due = pseudo.with_boxes / pseudo.images, labeled.with_boxes / labeled.images
    count, usual = pseudo.boxes / pseudo.images, labeled.boxes / labeled.images
    numbers = f'{count:.3g} pseudo-boxes in an unlabelled image, {usual:.3g} in a labelled one'
    if taught < limits.images * due:
        seen['images'] = (
            f'no pseudo-boxes on {1 - taught:.0%} of the unlabelled images (no boxes on '
            f'{1 - due:.0%} of the labelled ones)'
        )
    elif count < limits.few_boxes * usual:
        seen['few_boxes'] = numbers
    if count > limits.many_boxes * usual:
        seen['many_boxes'] = numbers
    if min(pseudo.boxes, labeled.boxes) >= EXPECTED * sum(map(bool, labeled.classes)):
        seen['classes'] = _judge_classes(pseudo, labeled, names, limits)
    absent, judged = missing_classes(pseudo, labeled)
    # With a single expected class there is nothing to compare; its absence may be chance.
    if judged > 1 and absent and len(absent) >= limits.missing * judged:
        listed = ', '.join(names[i] for i in absent[:5]) + (', …' if len(absent) > 5 else '')
        seen['missing'] = (
            f'{len(absent)} of {judged} classes never appear among {pseudo.boxes} pseudo-boxes '
            f'({listed})'
        )
    return seen


def _judge_classes(
    pseudo: BoxCounts, labeled: BoxCounts, names: Sequence[str], limits: Limits
) -> str | None:
    distance = histogram_distance(pseudo, labeled)
    if distance <= limits.classes:
        return None
    shares = [(p / pseudo.boxes, q / labeled.boxes) for p, q in _pairs(pseudo, labeled)]
    excess = max(range(len(names)), key=lambda i: shares[i][0] - shares[i][1])
    return (
        f'the class histogram of the pseudo-boxes is {distance:.2f} away from that of the labels; '
        f'{names[excess]!r} is {shares[excess][0]:.0%} of them, but {shares[excess][1]:.0%} of the '
        f'labelled boxes'
    )


def histogram_distance(pseudo: BoxCounts, labeled: BoxCounts) -> float:
    """Total variation of two class histograms, in [0, 1]; nan if one is empty."""
    if not pseudo.boxes or not labeled.boxes:
        return math.nan
    return sum(abs(p / pseudo.boxes - q / labeled.boxes) for p, q in _pairs(pseudo, labeled)) / 2


def missing_classes(pseudo: BoxCounts, labeled: BoxCounts) -> tuple[list[int], int]:
    """Classes that were expected but never appeared, and how many were expected."""
    if not labeled.boxes:
        return [], 0
    factor = pseudo.boxes / labeled.boxes
    due = [i for i, count in enumerate(labeled.classes) if factor * count >= EXPECTED]
    return [i for i in due if not pseudo.classes[i]], len(due)


def _pairs(pseudo: BoxCounts, labeled: BoxCounts) -> Iterator[tuple[int, int]]:
    return zip(pseudo.classes, labeled.classes, strict=True)


def standing(pseudo: PseudoCounts) -> float | None:
    """Where the mean score lies between the lowest score (0) and 1 (1); ``None`` for few boxes.

    The lowest score stands for the selector's threshold, so lowering that raises no alarm.
    """
    if pseudo.boxes < JUDGED or pseudo.lowest >= 1:
        return None
    return (pseudo.mean - pseudo.lowest) / (1 - pseudo.lowest)


def judge_scores(pseudo: PseudoCounts, before: Sequence[float], limit: float) -> str | None:
    """Whether the teacher has become unsure.

    Args:
        pseudo: Counts of the unlabelled images.
        before: :func:`standing` in earlier windows.
        limit: See :class:`Limits`.
    """
    now = standing(pseudo)
    if now is None or not before or now >= limit * median(before):
        return None
    return (
        f'the mean score of the pseudo-boxes is {pseudo.mean:.2f}, {now:.0%} of the way from the '
        f'lowest to 1; before it was {median(before):.0%}'
    )


def judge_gradient(norms: Sequence[float], recent: int, limit: float) -> str | None:
    """Whether the gradient has grown; a single high norm is normal.

    Args:
        norms: The last norms.
        recent: How many of them are new.
        limit: See :class:`Limits`.
    """
    if len(norms) < 5 * recent:
        return None
    now, before = median(norms[-recent:]), median(norms[:-recent])
    if now <= limit * before:
        return None
    return f'the median gradient norm is {now:.3g} in the last {recent} steps, but was {before:.3g}'


def judge_losses(pseudo: float, supervised: float, limit: float) -> str | None:
    """Whether the pseudo losses dwarf the supervised ones."""
    if pseudo <= limit * supervised or supervised <= 0:
        return None
    return f'the pseudo losses are {pseudo / supervised:.0f} times the supervised ones'


def judge_distance(weights: float, statistics: float, limit: float) -> str | None:
    """Whether the teacher's weights or running statistics are too far from the student's.

    Args:
        weights: See :func:`~ssod.teachers.distance.relative_distances`.
        statistics: The same.
        limit: See :class:`Limits`.
    """
    for what, distance in (('weights', weights), ('running statistics', statistics)):
        if not distance <= limit:
            return f"the teacher's {what} differ by {distance:.0%} from the student's"
    return None


def judge_gap(metrics: Mapping[str, float], limit: float) -> tuple[float, str | None] | None:
    """Compare teacher and student by their first mAP.

    Args:
        metrics: Of one validation, such as ``teacher/coco/bbox_mAP``.
        limit: See :class:`Limits`.

    Returns:
        The student's mAP minus the teacher's, and what was found; ``None`` without both scores.
    """
    pairs = [
        (score, metrics[partner])
        for key, score in metrics.items()
        if key.startswith('teacher/') and 'mAP' in key
        if (partner := key.replace('teacher', 'student', 1)) in metrics
    ]
    if not pairs:
        return None
    teacher, student = pairs[0]
    gap = student - teacher
    if gap <= max(limit * student, NOISE):
        return gap, None
    return gap, f"the teacher's mAP is {100 * teacher:.1f}, the student's {100 * student:.1f}"
