"""Averages of past predictions, against numbers computed by hand."""

import pytest
import torch
from mmengine.structures import InstanceData

from ssod.teachers.prediction_memory import PredictionMemory

LEFT, RIGHT = [0.0, 0, 10, 10], [50.0, 0, 60, 10]
# Its overlap with LEFT is 80 of 120 square pixels.
NEAR_LEFT = [2.0, 0, 12, 10]


def found(*boxes):
    """Predictions from tuples of box, score and label."""
    return InstanceData(
        bboxes=torch.tensor([b for b, _, _ in boxes]).reshape(-1, 4),
        scores=torch.tensor([float(s) for _, s, _ in boxes]),
        labels=torch.tensor([c for _, _, c in boxes], dtype=torch.long),
    )


def visit(memory, *predictions):
    """Predict an image several times; what is remembered in the end."""
    for prediction in predictions:
        memory.images['image'] = memory.add('image', prediction)
    entry = memory.images['image']
    return entry.boxes.tolist(), memory.scores(entry).tolist(), entry.labels.tolist()


def a_memory(decay=0.6, iou=0.5, max_boxes=10, min_score=0.05):
    return PredictionMemory(decay, iou, max_boxes, min_score)


def test_nothing_is_found():
    assert visit(a_memory(), found()) == ([], [], [])
    assert visit(a_memory(), found(), found()) == ([], [], [])


def test_the_first_visit_is_taken_as_it_is():
    # (1 - 0.6) * 0.8 / (1 - 0.6) = 0.8: no bias towards 0.
    boxes, scores, labels = visit(a_memory(), found((LEFT, 0.8, 3)))
    assert (boxes, labels) == ([LEFT], [3])
    assert scores == pytest.approx([0.8])


def test_a_box_that_is_found_again():
    # Z = 0.6 * 0.4 * 0.8 + 0.4 * 0.5 = 0.192 + 0.2 = 0.392; 0.392 / (1 - 0.36) = 0.6125.
    # x1 = (0 * 0.192 + 2 * 0.2) / 0.392 = 1.0204.
    boxes, scores, labels = visit(a_memory(), found((LEFT, 0.8, 3)), found((NEAR_LEFT, 0.5, 3)))
    assert scores == pytest.approx([0.6125])
    assert boxes[0] == pytest.approx([1.0204, 0, 11.0204, 10], abs=1e-4)
    assert labels == [3]


@pytest.mark.parametrize('other', [(RIGHT, 0.5, 3), (NEAR_LEFT, 0.5, 4)])
def test_a_box_elsewhere_or_of_another_class_is_another_one(other):
    # Lost: 0.6 * 0.32 / 0.64 = 0.3. New: 0.4 * 0.5 / 0.64 = 0.3125, as if not found at first.
    boxes, scores, labels = visit(a_memory(), found((LEFT, 0.8, 3)), found(other))
    assert boxes == [other[0], LEFT]
    assert scores == pytest.approx([0.3125, 0.3])
    assert labels == [other[2], 3]


def test_each_box_has_one_partner_and_the_best_score_chooses_first():
    # Both overlap LEFT enough; the second in the list is the better one and takes it.
    both = found((NEAR_LEFT, 0.3, 3), (LEFT, 0.9, 3))
    boxes, scores, _ = visit(a_memory(), found((LEFT, 0.5, 3)), both)
    assert [box[0] for box in boxes] == pytest.approx([0, 2])
    # 0.6 * 0.2 + 0.4 * 0.9 = 0.48, and 0.4 * 0.3 = 0.12, over 0.64.
    assert scores == pytest.approx([0.75, 0.1875])


def test_without_a_past():
    # Decay 0 is the present prediction.
    boxes, scores, _ = visit(
        a_memory(decay=0.0), found((LEFT, 0.8, 3)), found((NEAR_LEFT, 0.5, 3), (RIGHT, 0.6, 1))
    )
    assert boxes == [RIGHT, NEAR_LEFT]
    assert scores == pytest.approx([0.6, 0.5])


def test_what_is_lost_is_forgotten_in_the_end():
    memory = a_memory(min_score=0.1)
    visits = [found((LEFT, 0.8, 3))] + [found()] * 3
    # 0.8, 0.3, 0.1469 (0.32 * 0.36 / 0.784), and 0.0794, which is too low.
    lengths = [len(visit(memory, one)[0]) for one in visits]
    assert lengths == [1, 1, 1, 0]
    assert memory.images['image'].visits == 4


def test_the_memory_of_an_image_is_bounded():
    boxes, _, _ = visit(a_memory(max_boxes=1), found((LEFT, 0.3, 3), (RIGHT, 0.8, 3)))
    assert boxes == [RIGHT]


def test_adding_changes_nothing_by_itself():
    memory = a_memory()
    visit(memory, found((LEFT, 0.8, 3)))
    before = memory.images['image'].boxes.clone(), memory.images['image'].masses.clone()
    memory.add('image', found((NEAR_LEFT, 0.5, 3)))
    after = memory.images['image']
    assert torch.equal(before[0], after.boxes)
    assert torch.equal(before[1], after.masses)
    assert after.visits == 1


def test_the_state_is_all_there_is(tmp_path):
    memory = a_memory()
    memory.images['none'] = memory.add('none', found())
    visit(memory, found((LEFT, 0.8, 3), (RIGHT, 0.4, 1)), found((NEAR_LEFT, 0.5, 3)))
    torch.save(memory.state_dict(), tmp_path / 'x.pth')
    other = a_memory()
    other.load_state_dict(torch.load(tmp_path / 'x.pth', weights_only=True))
    assert list(other.images) == list(memory.images) == ['none', 'image']
    for one, two in zip(memory.images.values(), other.images.values(), strict=True):
        assert one.visits == two.visits
        for first, second in zip(one[1:], two[1:], strict=True):
            assert first.dtype == second.dtype
            assert torch.equal(first, second)
            # No entry keeps the others alive.
            assert second.untyped_storage().nbytes() == second.nbytes
    empty = a_memory()
    empty.load_state_dict(a_memory().state_dict())
    assert empty.images == {}
