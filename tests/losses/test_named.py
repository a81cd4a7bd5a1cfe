"""Losses by their names: prefixes, weights and factors."""

import pytest
import torch

from ssod.losses.named import check_factors, named, with_factors


def test_a_prefix_and_a_weight():
    losses = {'loss_cls': torch.tensor(2.0), 'loss_levels': [torch.tensor(1.0)] * 2, 'acc': 50.0}
    found = named('pseudo', losses, 3.0)
    # A list for each level as well; what is only logged stays as it is.
    assert found == {'pseudo_loss_cls': 6.0, 'pseudo_loss_levels': [3.0, 3.0], 'pseudo_acc': 50.0}


def test_factors():
    losses = {'loss_cls': torch.tensor(2.0), 'loss_bbox': torch.tensor(float('nan')), 'acc': 50.0}
    # What counts nothing is left out: 0 times nan is nan.
    assert with_factors(losses, {'loss_cls': 0.5, 'loss_bbox': 0.0}) == {
        'loss_cls': 1.0,
        'acc': 50.0,
    }


def test_a_factor_of_a_loss_that_is_not_there():
    with pytest.raises(ValueError, match=r"has no loss 'loss_box'; use loss_bbox$"):
        check_factors({'loss_bbox': torch.tensor(1.0), 'acc': 1.0}, {'loss_box': 1.0})
    # Always the first of several.
    names = [f'loss_{i}' for i in range(9)]
    with pytest.raises(ValueError, match="has no loss 'loss_8'"):
        check_factors({'loss_bbox': torch.tensor(1.0)}, dict.fromkeys(reversed(names), 1.0))
