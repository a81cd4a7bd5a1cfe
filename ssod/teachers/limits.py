"""Where each alarm begins."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from ssod.strict import check_keys


@dataclass(frozen=True)
class Limits:
    """Where each alarm begins; the names are those of the alarms.

    Attributes:
        images: Least share of the unlabelled images with pseudo-boxes, as a fraction of the
            labelled images' share with boxes. In [0, 1].
        few_boxes: Least number of pseudo-boxes per unlabelled image, as a fraction of the boxes
            per labelled one. In [0, 1].
        many_boxes: Greatest number of pseudo-boxes per unlabelled image, as a multiple of the
            boxes per labelled one.
        classes: Greatest distance of the pseudo-boxes' class histogram from that of the labels:
            their total variation, the share of the boxes that would have to change their class. In
            [0, 1].
        missing: Share of the classes that never appear among the pseudo-boxes at which the alarm
            begins. Only classes with at least 10 expected boxes count, and at least two such
            classes are needed. In [0, 1].
        scores: Least position of the mean score between the lowest score (0) and 1 (1), as a
            fraction of what it was in earlier windows. In [0, 1].
        distance: Greatest relative distance of the teacher's weights, or of its running statistics,
            from the student's; see :func:`~ssod.teachers.distance.relative_distances`.
        gap: How far the teacher's mAP may fall below the student's, as a share of the student's.
            In [0, 1].
        gradient: Greatest gradient norm, as a multiple of its running median.
        pseudo_loss: Greatest multiple of the supervised losses that the pseudo losses (times λ)
            may be.
        non_finite: The run stops when so many steps of a window had a loss or gradient that was
            not finite. At least 1.
    """

    images: float = 0.1
    few_boxes: float = 0.1
    many_boxes: float = 3.0
    classes: float = 0.5
    missing: float = 0.5
    scores: float = 0.5
    distance: float = 0.5
    gap: float = 0.3
    gradient: float = 10.0
    pseudo_loss: float = 100.0
    non_finite: int = 10

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> 'Limits':
        """The defaults, with some limits set.

        Raises:
            ValueError: If a name is unknown or a value is out of its range.
        """
        names = [field.name for field in fields(cls)]
        check_keys('TeacherWatchHook limits', settings, names)
        limits = cls(**settings)
        for name in names:
            value, (low, high) = getattr(limits, name), _RANGES[name]
            if not isinstance(value, int | float) or not low <= value <= high:
                raise ValueError(
                    f'TeacherWatchHook: limits.{name} is {value!r}, but must be in [{low}, {high}]'
                )
        return limits


_RANGES: dict[str, tuple[float, float]] = {
    'images': (0, 1),
    'few_boxes': (0, 1),
    'many_boxes': (1, math.inf),
    'classes': (0, 1),
    'missing': (0, 1),
    'scores': (0, 1),
    'distance': (0, math.inf),
    'gap': (0, 1),
    'gradient': (1, math.inf),
    'pseudo_loss': (0, math.inf),
    'non_finite': (1, math.inf),
}
