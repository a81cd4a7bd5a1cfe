"""Features and what heads say of them, used more than once."""

from functools import partial

import pytest
import torch
from torch import nn

from ssod.models.features import features_of, one_pass


class Head(nn.Module):
    """Adds up, and counts how often it is asked."""

    def __init__(self):
        super().__init__()
        self.asked = 0

    def forward(self, maps, *others):
        self.asked += 1
        return sum(level.sum() for level in [*maps, *others])


def test_one_pass_for_the_same_features():
    head, features = Head(), (torch.ones(2, 3), torch.ones(1))
    with one_pass(head, features):
        assert head(features) == head(features) == 7
        assert head.asked == 1
        # Equal ones are not the same.
        assert head((torch.ones(2, 3), torch.ones(1))) == 7
        assert head.asked == 2
        # As the heads of DETR are asked.
        assert head(features, torch.ones(5)) == 12
        assert head.asked == 3
    assert head(features) == 7
    assert head.asked == 4


def test_one_pass_ends_with_an_error():
    head, features = Head(), (torch.ones(2),)
    with pytest.raises(RuntimeError), one_pass(head, features):
        raise RuntimeError
    assert 'forward' not in vars(head)


def test_one_pass_leaves_what_was_put_around_the_head():
    head, features = Head(), (torch.ones(2),)
    # As mmengine's activation checkpointing does it.
    around = head.forward = partial(head.forward)
    for _ in range(2):
        with one_pass(head, features):
            assert head(features) == 2
        assert vars(head)['forward'] is around


def test_images_of_a_batch():
    first, second = features_of((torch.arange(4), torch.arange(8).view(4, 2)), 1, 3)
    assert first.tolist() == [1, 2]
    assert second.tolist() == [[2, 3], [4, 5]]
