"""Other methods for single objects, for a while."""

import pytest
from torch import nn

from ssod.replaced import replaced


@pytest.mark.parametrize('owner', [nn.Identity(), type('Plain', (), {'forward': abs})()])
def test_a_method_is_another_one_for_a_while(owner):
    before = vars(owner).copy()
    with pytest.raises(ZeroDivisionError), replaced(owner, 'forward', lambda x: -x):
        assert owner.forward(3) == -3
        with replaced(owner, 'forward', lambda x: 1 / 0):
            owner.forward(3)
    assert vars(owner) == before


def test_others_keep_theirs():
    one, other = nn.Identity(), nn.Identity()
    with replaced(one, 'forward', lambda x: -x):
        assert (one(3), other(3)) == (-3, 3)


def test_a_method_of_its_own_is_kept():
    module = nn.Identity()
    module.forward = lambda x: 2 * x
    with replaced(module, 'forward', lambda x: -x):
        assert module(3) == -3
    assert module(3) == 6
