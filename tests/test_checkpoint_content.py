"""What checkpoints of different programs hold."""

import pytest
import torch

from ssod.checkpoint_content import classes_of, digest_of, models_in, palette_of, weights_of

ONE, TWO = torch.tensor(1), torch.tensor(2)


def test_nothing():
    assert weights_of({}) == {}
    assert weights_of({'state_dict': {}, 'meta': {}}) == {}
    assert models_in({}) == []


def test_weights():
    # A checkpoint or weights alone; what distributed runs and older versions add is left out.
    state = {'module.student.a': ONE, 'module.teacher.a': TWO, 'data_preprocessor.mean': ONE}
    for checkpoint in (state, {'state_dict': state, 'meta': {}}):
        assert weights_of(checkpoint) == {'student.a': ONE, 'teacher.a': TWO}


@pytest.mark.parametrize(
    ('names', 'expected'),
    [
        (['backbone.a', 'head.a'], []),
        (['teacher.a', 'student.a', 'verifier.a'], ['teacher', 'student']),
        (['student.a'], ['student']),
        (['teacher.a'], ['teacher']),
        # Parts that are only named alike.
        (['students.a', 'head.teacher.a'], []),
    ],
)
def test_of_whom_weights_are(names, expected):
    assert models_in(dict.fromkeys(names, ONE)) == expected


NAMES = ('cat', 'dog')


@pytest.mark.parametrize(
    ('meta', 'expected'),
    [
        (None, None),
        ({}, None),
        ({'dataset_meta': {'classes': NAMES}}, NAMES),
        ({'dataset_meta': {'CLASSES': list(NAMES)}}, NAMES),
        ({'CLASSES': NAMES}, NAMES),  # mmdet 2
        ({'classes': NAMES}, NAMES),  # a data set's own
        # The newer place comes first, unless it names none.
        ({'dataset_meta': {'classes': NAMES}, 'CLASSES': ('other',)}, NAMES),
        ({'dataset_meta': None, 'CLASSES': NAMES}, NAMES),
        ({'dataset_meta': {'palette': [(1, 2, 3)]}, 'CLASSES': NAMES}, NAMES),
        ({'dataset_meta': {'classes': ()}, 'CLASSES': NAMES}, NAMES),
        # What other programs write there.
        ('by hand', None),
        (['cat'], None),
        ({'dataset_meta': 'by hand', 'CLASSES': NAMES}, NAMES),
        ({'classes': 'cat'}, None),
        ({'classes': 2}, None),
    ],
)
def test_where_classes_are_named(meta, expected):
    assert classes_of(meta) == expected


def test_the_colours():
    assert palette_of({'PALETTE': [(1, 2, 3)]}) == [(1, 2, 3)]
    assert palette_of({'dataset_meta': {'palette': 'random'}}) == 'random'
    assert palette_of('by hand') is None


def test_the_digest_of_weights():
    one, count = torch.ones(2, 3), torch.tensor(4)
    first = digest_of({'a': one, 'b': count})
    # Neither their order nor the layout of their memory counts, nor what is no tensor.
    assert digest_of({'b': count, 'a': torch.ones(3, 2).T, 'c': None}) == first
    others = [
        {'a': one, 'c': count},
        {'a': one, 'b': count + 1},
        {'a': one.bfloat16(), 'b': count},
        {'a': one.reshape(3, 2), 'b': count},
    ]
    assert len({first, *map(digest_of, others)}) == 5
