"""Boxes counted by hand."""

import math

import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData

from ssod.teachers import box_counts
from ssod.teachers.box_counts import BoxCounts, PseudoCounts, PseudoTally, count_labels


class Source:
    """A data set that says which labels its images have; ``None`` is a crowd."""

    def __init__(self, *images):
        self.images = images

    def __len__(self):
        return len(self.images)

    def get_data_info(self, index):
        labels = self.images[index]
        return {
            'instances': [
                {'bbox_label': label or 0, 'ignore_flag': int(label is None)} for label in labels
            ]
        }


def sources(*members):
    return type('Sources', (), {'datasets': list(members)})


@pytest.mark.parametrize(
    ('dataset', 'expected'),
    [
        # No image, one without boxes, one with a crowd alone.
        (Source(), BoxCounts(0, 0, [0, 0])),
        (Source([]), BoxCounts(1, 0, [0, 0])),
        (Source([None]), BoxCounts(1, 0, [0, 0])),
        # A crowd beside other boxes is not counted.
        (Source([1, 1], [], [0, None]), BoxCounts(3, 2, [1, 2])),
        # Of several data sets the first that has boxes counts, wherever the unlabelled ones are.
        (sources(Source([0]), Source([]), Source([1])), BoxCounts(1, 1, [1, 0])),
        (sources(Source([], []), Source([1])), BoxCounts(1, 1, [0, 1])),
        (sources(Source([]), Source([])), BoxCounts(1, 0, [0, 0])),
    ],
)
def test_labels(dataset, expected):
    assert count_labels(dataset, 2) == expected


def test_a_large_data_set_is_sampled_over_all_of_it(monkeypatch):
    # Of ten images three are looked at: the first, one in the middle and the last.
    monkeypatch.setattr(box_counts, 'SAMPLED', 3)
    source = Source([0], [], [], [], [1], [], [], [], [], [1, 1])
    assert count_labels(source, 2) == BoxCounts(3, 3, [1, 3])


def sample(*boxes):
    labels, scores = zip(*boxes, strict=True) if boxes else ((), ())
    instances = InstanceData(labels=torch.tensor(labels).long(), scores=torch.tensor(scores))
    data_sample = DetDataSample()
    data_sample.gt_instances = instances
    return data_sample


def test_nothing_was_added():
    counts = PseudoTally(2).counts()
    assert (counts.images, counts.with_boxes, counts.classes, counts.boxes) == (0, 0, [0, 0], 0)
    assert math.isnan(counts.mean) and math.isnan(counts.lowest)


def test_pseudo_boxes_add_up():
    tally = PseudoTally(3)
    tally.add([])
    tally.add([sample()])
    tally.add([sample((0, 0.5), (2, 0.75)), sample(), sample((2, 1.0))])
    # Four images, two of them with boxes; 0.5 + 0.75 + 1 = 2.25.
    assert tally.counts() == PseudoCounts(4, 2, [1, 0, 2], mean=0.75, lowest=0.5)


def test_a_tally_goes_on_from_a_checkpoint(tmp_path):
    first = PseudoTally(2)
    first.add([sample((0, 0.5))])
    torch.save(first.state_dict(), tmp_path / 'state.pth')
    first.add([sample((1, 1.0))])  # What is saved is not what goes on.
    second = PseudoTally(2)
    second.load_state_dict(torch.load(tmp_path / 'state.pth', weights_only=True))
    assert second.counts() == PseudoCounts(1, 1, [1, 0], mean=0.5, lowest=0.5)
    second.add([sample((1, 1.0))])
    assert second.counts() == first.counts()
