"""The pseudo-labels of a sample of images, class by class, compared with the labels."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from ssod.teachers.box_counts import BoxCounts
from ssod.visualization.report.looks import Lesson
from ssod.visualization.report.svg import Chart, bar_chart

BINS = 20
"""Bars of a histogram of scores from 0 to 1."""


@dataclass
class Found:
    """Counts of the boxes of a class that the teacher found.

    Attributes:
        right: Correct boxes in each score bin.
        wrong: Incorrect boxes in each score bin.
        unknown: Boxes in each score bin that cannot be judged, because there is no hidden truth or
            they are on a crowd, whose objects it does not separate.
        taught: Number of boxes the selector keeps.
        taught_right: How many of these are correct.
        judged: How many of these can be judged.
    """

    right: list[int] = field(default_factory=lambda: [0] * BINS)
    wrong: list[int] = field(default_factory=lambda: [0] * BINS)
    unknown: list[int] = field(default_factory=lambda: [0] * BINS)
    taught: int = 0
    taught_right: int = 0
    judged: int = 0

    @property
    def bars(self) -> list[int]:
        """All boxes in each score bin."""
        return [sum(bar) for bar in zip(self.right, self.wrong, self.unknown, strict=True)]

    @property
    def precision(self) -> float | None:
        """Share of the judged pseudo-boxes that are right, in [0, 1]; ``None`` without any."""
        return self.taught_right / self.judged if self.judged else None


@dataclass(frozen=True)
class ClassRow:
    """A class in the labels and in the pseudo-labels.

    Attributes:
        name: Its name.
        labels: Number of its boxes in the labelled images.
        label_share: Its share of all labelled boxes, in [0, 1].
        pseudo: Number of its pseudo-boxes.
        pseudo_share: Its share of all pseudo-boxes, in [0, 1].
        precision: See :class:`Found`.
        bars: See :class:`Found`.
    """

    name: str
    labels: int
    label_share: float
    pseudo: int
    pseudo_share: float
    precision: float | None
    bars: Sequence[int]


class LessonCounts:
    """Adds up what the teacher would teach.

    Args:
        classes: Names of the classes.
    """

    def __init__(self, classes: Sequence[str]) -> None:
        self.classes = classes
        self.images = 0
        self._truth_is_known = False
        self._found = [Found() for _ in classes]

    def add(self, lesson: Lesson) -> None:
        """Count one image."""
        self.images += 1
        self._truth_is_known |= lesson.verdicts is not None
        columns = (lesson.found.labels, lesson.found.scores, lesson.chosen)
        rows = zip(*(column.tolist() for column in columns), strict=True)
        for i, (label, score, chosen) in enumerate(rows):
            found = self._found[label]
            verdict = lesson.verdicts[i].kind if lesson.verdicts is not None else None
            right, judged = verdict == 'right', verdict not in (None, 'ignored')
            bars = found.right if right else found.wrong if judged else found.unknown
            bars[min(int(score * BINS), BINS - 1)] += 1
            if chosen:
                found.taught += 1
                found.taught_right += right
                found.judged += judged

    def rows(self, labels: BoxCounts) -> list[ClassRow]:
        """The classes, those with the most labels first.

        Args:
            labels: Counts of the labelled images.
        """
        taught = sum(found.taught for found in self._found)
        rows = [
            ClassRow(
                name,
                count,
                count / labels.boxes if labels.boxes else 0.0,
                found.taught,
                found.taught / taught if taught else 0.0,
                found.precision,
                found.bars,
            )
            for name, count, found in zip(self.classes, labels.classes, self._found, strict=True)
        ]
        return sorted(rows, key=lambda row: -row.labels)

    def histogram(self, threshold: float | None) -> Chart:
        """The scores of all boxes that the teacher found.

        Args:
            threshold: Drawn as a line; ``None`` if there is no single one.
        """
        total = {
            name: [sum(bar) for bar in zip(*(getattr(f, name) for f in self._found), strict=True)]
            for name in ('right', 'wrong', 'unknown')
        }
        unknown = ('not known', 'muted') if self._truth_is_known else ('all boxes', 'teacher')
        stacks = [
            (name, total[kind], colour)
            for name, kind, colour in (
                ('right', 'right', 'teacher'),
                ('wrong', 'wrong', 'student'),
                (unknown[0], 'unknown', unknown[1]),
            )
            if any(total[kind])
        ]
        title = 'Scores of all boxes the teacher finds'
        unit = 'number of boxes'
        if not stacks:
            return Chart(title, unit, missing='The teacher finds no box on these images.')
        edges = [i / BINS for i in range(BINS + 1)]
        return bar_chart(title, unit, edges, stacks, threshold)
