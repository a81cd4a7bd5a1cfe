"""The verifier of classes: what it sees, what it learns, and what becomes of the teacher's word."""

import math
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from ssod.models import class_verifier
from ssod.models.class_verifier import (
    JITTER,
    STRIDE,
    UNSEEN,
    ClassVerifier,
    LabeledBoxes,
    jittered,
    verified,
)

BACKBONE = dict(type='TorchvisionBackbone', arch='resnet18', out_strides=(8, 16, 32))
LEFT, RIGHT = [0.0, 0.0, 64.0, 64.0], [64.0, 0.0, 128.0, 64.0]


@pytest.fixture
def verifier() -> ClassVerifier:
    torch.manual_seed(0)
    return ClassVerifier(BACKBONE, num_classes=4)


def halves(left: float, right: float) -> Tensor:
    """An image (1, 3, 64, 128) whose halves are of one grey each."""
    image = torch.full((1, 3, 64, 128), left)
    image[..., 64:] = right
    return image


def view(number: int, shades: tuple[float, float], labels: tuple[int, ...]) -> LabeledBoxes:
    boxes = torch.tensor([LEFT, RIGHT][: len(labels)]).view(-1, 4)
    return LabeledBoxes(number, halves(*shades), boxes, torch.tensor(labels, dtype=torch.long))


def views(count: int = 10) -> list[LabeledBoxes]:
    """Dark is class 0 and bright class 2, on either side."""
    shades = [(-2.0, 2.0) if i % 2 else (2.0, -2.0) for i in range(count)]
    return [view(i, pair, (0, 2) if i % 2 else (2, 0)) for i, pair in enumerate(shades)]


def fit(verifier: ClassVerifier, given: list[LabeledBoxes]) -> float | None:
    return verifier.fit(given, torch.Generator().manual_seed(0))


def test_it_learns_classes_by_the_features_of_regions(verifier):
    assert fit(verifier, views()) == 1.0
    told = verifier(halves(-2.0, 2.0), [torch.tensor([LEFT, RIGHT, RIGHT])])
    assert told.shape == (3, 4)
    assert told.argmax(dim=1).tolist() == [0, 2, 2]
    torch.testing.assert_close(told.exp().sum(dim=1), torch.ones(3))
    # Of classes without a box it says that they are hardly ever there.
    assert told[:, [1, 3]].max() < UNSEEN / 2


def test_three_classes(verifier):
    shades = [(-2.0, 2.0, (0, 2)), (0.0, -2.0, (3, 0)), (2.0, 0.0, (2, 3))]
    fit(verifier, [view(i, (a, b), labels) for i, (a, b, labels) in enumerate(shades * 4)])
    told = verifier(halves(0.0, 2.0), [torch.tensor([LEFT, RIGHT])])
    assert told.argmax(dim=1).tolist() == [3, 2]


def test_how_good_it_is_is_told_by_images_that_it_has_not_learnt(verifier):
    # The fifth image alone, which is seen twice, has class 3: nothing else says what that is.
    others = [view(i, (float(i), float(i)), (i % 3,)) for i in range(4)]
    assert fit(verifier, [*others, view(4, (9.0, 9.0), (3,))] * 2) == 0.0


def test_all_classes_count_the_same(verifier):
    # Class 0 has ten times the boxes of class 2, which look alike: neither is likelier.
    shades = [0.0, 1.0, 2.0, 3.0]
    often = [view(i, (shade, shade), (0,)) for i, shade in enumerate(shades * 10)]
    fit(verifier, often + [view(i, (shade, shade), (2,)) for i, shade in enumerate(shades)])
    told = verifier(halves(1.5, 1.5), [torch.tensor([LEFT])])
    assert told[0, 0].item() == pytest.approx(told[0, 2].item(), abs=0.5)


def test_one_class_alone_is_certain(verifier):
    assert fit(verifier, [view(0, (1.0, 1.0), (3,))]) is None
    told = verifier(halves(0.0, 0.0), [torch.tensor([LEFT])])
    assert told[0, 3].item() == pytest.approx(0.0, abs=1e-6)


def test_without_boxes_there_is_nothing_to_learn(verifier):
    with pytest.raises(ValueError, match=r'model\.verifier: no labelled image has a box'):
        fit(verifier, [view(0, (1.0, 1.0), ())])


def test_images_and_regions_of_a_batch(verifier):
    fit(verifier, views())
    batch = torch.cat([halves(-2.0, 2.0), halves(2.0, -2.0)])
    none, both = torch.zeros(0, 4), torch.tensor([LEFT, RIGHT])
    told = verifier(batch, [none, both])
    assert told.argmax(dim=1).tolist() == [2, 0]
    torch.testing.assert_close(told, verifier(batch[1:], [both]))
    assert verifier(batch, [none, none]).shape == (0, 4)


# Sides of the image that the backbone is given, for one of 64 x 128.
@pytest.mark.parametrize(
    ('scale', 'size'),
    [
        (1.0, (64, 128)),
        (2.0, (128, 256)),
        (1.6, (96, 192)),  # 102 x 205, to whole strides
        (0.1, (STRIDE, STRIDE)),  # never less than one
    ],
)
def test_the_image_is_enlarged_and_its_regions_with_it(scale, size):
    torch.manual_seed(0)
    verifier = ClassVerifier(BACKBONE, num_classes=4, scale=scale)
    seen = []
    verifier.backbone.register_forward_hook(lambda _, args, maps: seen.append(args[0].shape[-2:]))
    fit(verifier, views())
    assert set(seen) == {size}
    if scale >= 1:
        told = verifier(halves(-2.0, 2.0), [torch.tensor([LEFT, RIGHT])])
        assert told.argmax(dim=1).tolist() == [0, 2]


def test_nothing_in_it_is_trained_by_steps(verifier):
    assert not any(weights.requires_grad for weights in verifier.parameters())
    verifier.train()
    assert not any(module.training for module in verifier.modules())


def test_the_scale_must_be_positive():
    with pytest.raises(ValueError, match='verifier: scale is 0, but must be positive'):
        ClassVerifier(BACKBONE, num_classes=4, scale=0)


def test_boxes_are_moved_and_stretched_by_their_own_sides():
    boxes = torch.tensor([[0.0, 0.0, 100.0, 10.0]]).expand(500, 4)
    moved = (jittered(boxes, torch.Generator().manual_seed(0)) - boxes).abs()
    limits = torch.tensor([100.0, 10.0, 100.0, 10.0]) * JITTER
    assert (moved <= limits).all()
    assert (moved.amax(dim=0) > 0.9 * limits).all()


def looked_at(verifier: ClassVerifier, seed: int, given: Iterator[LabeledBoxes]) -> list[Tensor]:
    """The boxes whose features are learnt."""
    seen, features = [], verifier._features

    def watched(inputs: Tensor, boxes: list[Tensor]) -> Tensor:
        seen.extend(boxes)
        return features(inputs, boxes)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(verifier, '_features', watched)
        verifier.fit(given, torch.Generator().manual_seed(seed))
    return seen


def test_it_learns_jittered_boxes(verifier):
    # Each view's as the generator says, the labels' nowhere.
    first, again, other = (looked_at(verifier, seed, iter(views(2))) for seed in (0, 0, 1))
    generator = torch.Generator().manual_seed(0)
    assert len(first) == 2
    for boxes, same, differing in zip(first, again, other, strict=True):
        assert torch.equal(boxes, same)
        assert (boxes != differing).all()
        assert (boxes != torch.tensor([LEFT, RIGHT])).all()
        assert torch.equal(boxes, jittered(torch.tensor([LEFT, RIGHT]), generator))


def test_no_more_boxes_are_learnt_than_enough(verifier, monkeypatch):
    # Two in each view: the second view brings the fourth, and the others are not even loaded.
    monkeypatch.setattr(class_verifier, 'ENOUGH_BOXES', 3)
    given = iter(views(10))
    assert len(looked_at(verifier, 0, given)) == 2
    assert len(list(given)) == 8


def logs(*probabilities: float) -> Tensor:
    return torch.tensor([probabilities]).log()


# What the teacher says (background last, or sigmoids), what the verifier, and what is taught.
@pytest.mark.parametrize(
    ('softmax', 'teacher', 'which', 'taught'),
    [
        # An object with 0.8; the teacher's shares 0.75 and 0.25 weigh 0.75²⁰ = 0.003, so that it is
        # shared out as 0.75^0.003 · 0.1^0.997 to 0.25^0.003 · 0.9^0.997.
        (True, [0.6, 0.2, 0.2], [0.1, 0.9], [0.080756, 0.719244, 0.2]),
        # Where both are of one mind nothing changes, nor ever the background.
        (True, [0.05, 0.05, 0.9], [0.5, 0.5], [0.05, 0.05, 0.9]),
        # A sure teacher is hardly contradicted: 0.99²⁰ = 0.818.
        (True, [0.495, 0.005, 0.5], [0.01, 0.99], [0.474453, 0.025547, 0.5]),
        # Of sigmoids the likeliest says whether it is an object, before and after.
        (False, [0.6, 0.2], [0.25, 0.75], [0.201398, 0.6]),
        (False, [0.6, 0.2], [0.75, 0.25], [0.6, 0.2]),
    ],
)
def test_the_teacher_says_whether_and_both_say_which(softmax, teacher, which, taught):
    spoken = logs(*teacher) if softmax else torch.logit(torch.tensor([teacher]))
    told = verified(spoken, logs(*which), softmax)
    probabilities = told.softmax(dim=1) if softmax else told.sigmoid()
    torch.testing.assert_close(probabilities, torch.tensor([taught]), rtol=1e-4, atol=0)


def test_a_certain_sigmoid_stays_finite():
    told = verified(torch.tensor([[200.0, -200.0]]), torch.tensor([[0.0, -30.0]]), softmax=False)
    assert told.isfinite().all()
    assert told[0, 0].item() == pytest.approx(math.log((1 - 1e-6) / 1e-6), rel=1e-2)


def test_it_knows_whether_its_backbone_is_pretrained(verifier):
    assert not verifier.is_pretrained
    assert ClassVerifier({**BACKBONE, 'weights': 'DEFAULT'}, num_classes=4).is_pretrained
