"""The two-stream sampler."""

import itertools
from unittest import mock

import numpy as np
import pytest
from mmdet.registry import DATA_SAMPLERS
from mmengine.dataset import BaseDataset, ConcatDataset
from mmengine.runner import Runner

from ssod.data.sampler import WINDOW, SourceRatioSampler


class Sources:
    """As much of a ConcatDataset as the sampler reads."""

    def __init__(self, *sizes):
        self.cumulative_sizes = list(itertools.accumulate(sizes))

    def __len__(self):
        return self.cumulative_sizes[-1]

    def get_data_info(self, index):
        """Three of ten images are portrait."""
        return {'width': 4, 'height': 5 if is_portrait(index) else 3}


def is_portrait(index):
    return np.random.default_rng(index).random() < 0.3


def make(sizes, ratio, seed=0, rank=0, world=1, by_orientation=False):
    with mock.patch('ssod.data.sampler.get_dist_info', return_value=(rank, world)):
        return SourceRatioSampler(Sources(*sizes), ratio, seed, by_orientation)


def by_orientation(batch_size, sizes=(100, 900), ratio=(1, 4), **where):
    sampler = make(sizes, ratio, by_orientation=True, **where)
    sampler.use_batch_size(batch_size)
    return sampler


def portrait_shares(draws, batch_size):
    """Of each batch, the share of portrait images."""
    portrait = np.array([is_portrait(draw) for draw in draws])
    return portrait.reshape(-1, batch_size).mean(axis=1)


def take(sampler, count):
    return list(itertools.islice(sampler, count))


def source_of(index, sizes):
    return next(s for s, end in enumerate(itertools.accumulate(sizes)) if index < end)


# Sizes of the sources and the ratio, for what holds of all of them.
KINDS = [
    ([100, 900], [1, 1]),  # the digits
    ([100, 900], [1, 4]),  # COCO's one to four
    ([3, 90], [8, 8]),  # a source smaller than its share of a batch
    ([5, 7, 11], [3, 1, 2]),  # more than two sources
    ([1, 1], [2, 1]),  # one image each
    ([4], [1]),  # a single source
]


def test_one_source_of_one_image():
    assert take(make([1], [1]), 3) == [0, 0, 0]


@pytest.mark.parametrize(('sizes', 'ratio'), KINDS)
def test_every_period_has_the_ratio_and_every_pass_each_image_once(sizes, ratio):
    draws = take(make(sizes, ratio), sum(ratio) * 400)
    pattern = [s for s, n in enumerate(ratio) for _ in range(n)]
    assert [source_of(i, sizes) for i in draws] == pattern * 400
    start = 0
    for source, size in enumerate(sizes):
        mine = [i for i in draws if source_of(i, sizes) == source]
        passes = [mine[k : k + size] for k in range(0, len(mine) - size + 1, size)]
        assert all(sorted(p) == list(range(start, start + size)) for p in passes)
        start += size


def test_passes_and_seeds_are_shuffled_apart():
    draws = take(make([50], [1]), 100)
    assert draws[:50] != draws[50:]
    assert draws[:50] != sorted(draws[:50])
    assert take(make([50], [1], seed=1), 50) != draws[:50]
    assert take(make([50], [1]), 100) == draws
    # Sources of one size must not walk in step.
    first, second = (take(make([50, 50], [1, 1]), 100)[k::2] for k in (0, 1))
    assert first != [i - 50 for i in second]


@pytest.mark.parametrize('world', [2, 3])
@pytest.mark.parametrize(('sizes', 'ratio'), KINDS)
def test_ranks_together_draw_what_one_process_draws(sizes, ratio, world):
    batch = 2 * sum(ratio)
    one = take(make(sizes, ratio), batch * world * 20)
    ranks = [take(make(sizes, ratio, rank=r, world=world), batch * 20) for r in range(world)]
    for step in range(20):
        together = [i for r in ranks for i in r[step * batch : (step + 1) * batch]]
        alone = one[step * batch * world : (step + 1) * batch * world]
        assert sorted(together) == sorted(alone)


@pytest.mark.parametrize(('sizes', 'ratio'), KINDS)
@pytest.mark.parametrize('rank', [0, 1])
@pytest.mark.parametrize('skipped', [0, 1, 7, 100])
def test_skip_gives_the_tail_of_the_uninterrupted_draws(sizes, ratio, rank, skipped):
    whole = take(make(sizes, ratio, rank=rank, world=2), skipped + 200)
    resumed = make(sizes, ratio, rank=rank, world=2)
    resumed.skip(5)
    resumed.skip(skipped)
    assert take(resumed, 200) == whole[skipped:]
    assert take(resumed, 200) == whole[skipped:]


def test_skip_takes_no_time():
    sampler = make([100, 900], [1, 4])
    sampler.skip(10**15)
    assert len(take(sampler, 5)) == 5


@pytest.mark.parametrize(
    ('sizes', 'ratio', 'world', 'expected'),
    [
        ([100, 900], [1, 4], 1, 225 * 5),  # the second is seen after 225 periods of 4
        ([100, 900], [1, 1], 1, 900 * 2),
        ([3, 1], [2, 1], 1, 2 * 3),  # half a period is a whole one
        ([100, 900], [1, 4], 2, 113 * 5),  # 225 periods over two ranks
    ],
)
def test_length_is_until_every_image_was_seen(sizes, ratio, world, expected):
    ranks = [make(sizes, ratio, rank=r, world=world) for r in range(world)]
    assert [len(s) for s in ranks] == [expected] * world
    seen = {i for s in ranks for i in take(s, expected)}
    assert seen == set(range(sum(sizes)))


@pytest.mark.parametrize(
    ('batch_size', 'message'),
    [
        (5, None),
        (10, None),
        (1, 'multiple of 5, such as 5'),
        (0, 'multiple of 5, such as 5'),
        (-5, 'multiple of 5, such as 5'),
        (8, r'batch_size=8 does not fit source_ratio=\[1, 4\].*such as 5 or 10'),
    ],
)
def test_use_batch_size(batch_size, message):
    sampler = make([100, 900], [1, 4])
    if message is None:
        sampler.use_batch_size(batch_size)
    else:
        with pytest.raises(ValueError, match=message):
            sampler.use_batch_size(batch_size)


@pytest.mark.parametrize(
    ('sizes', 'ratio', 'message'),
    [
        ([4, 4], [1], 'has 1 numbers for 2 data sets'),
        ([4, 4], [1, 0], 'at least 1; leave a data set out'),
        ([4, 4], [1, -1], 'at least 1'),
        ([4, 4], [1, 0.5], 'whole numbers'),
        ([4, 4], [1, True], 'whole numbers'),
        ([4, 0], [1, 1], 'data set 1 of the ConcatDataset is empty'),
    ],
)
def test_refused(sizes, ratio, message):
    with pytest.raises(ValueError, match=message):
        make(sizes, ratio)


def test_other_refusals():
    with pytest.raises(ValueError, match='must be a ConcatDataset'):
        SourceRatioSampler([1, 2], source_ratio=[1], seed=0)
    with pytest.raises(ValueError, match='num_samples=-1'):
        make([1], [1]).skip(-1)
    with pytest.raises(ValueError, match="did you mean 'source_ratio'"):
        SourceRatioSampler(Sources(1), source_ratios=[1])


@pytest.mark.parametrize('batch_size', [5, 20])
def test_by_orientation_hardly_any_batch_is_mixed(batch_size):
    window = WINDOW * batch_size
    mixed = portrait_shares(take(make([100, 900], [1, 4]), 6 * window), batch_size)
    assert np.isin(mixed, [0, 1]).mean() < 0.4
    draws = take(by_orientation(batch_size), 6 * window)
    shares = portrait_shares(draws, batch_size)
    # At most one batch for each source and window, and those between the sources' shares.
    assert np.isin(shares, [0, 1]).mean() > 0.85
    assert shares.mean() == pytest.approx(mixed.mean())
    # The orientations take turns at random.
    changes = (np.diff(shares) != 0).sum()
    assert changes > len(shares) / 4
    # Each image is drawn as often as without, with the same views, in the same place of a batch.
    plain = take(make([100, 900], [1, 4]), 6 * window)
    for k in range(0, len(plain), window):
        for place in range(5):
            source = draws[k : k + window][place::5], plain[k : k + window][place::5]
            assert {d < 100 for d in source[0]} == {d < 100 for d in source[1]}
        keys = [sorted((d, d.key) for d in some[k : k + window]) for some in (draws, plain)]
        assert keys[0] == keys[1]


def test_by_orientation_of_the_images_that_have_several():
    sampler = by_orientation(4, sizes=(400, 400), ratio=(1, 3))
    with mock.patch.object(sampler._orientations, 'is_portrait', lambda i: i >= 600):
        batches = np.reshape(take(sampler, 4 * WINDOW), (WINDOW, 4))
    assert (batches[:, 0] < 400).all()
    upright = (batches[:, 1:] >= 600).sum(axis=1)
    assert np.isin(upright, [0, 3]).sum() >= WINDOW - 1
    assert {0, 3} <= set(upright)


def test_by_orientation_ranks_have_the_same_one_at_a_time():
    ranks = [portrait_shares(take(by_orientation(5, rank=r, world=2), 3200), 5) for r in range(2)]
    assert (np.round(ranks[0]) == np.round(ranks[1])).mean() > 0.85
    together = [take(by_orientation(5, rank=r, world=2), 5 * WINDOW) for r in range(2)]
    assert sorted(together[0] + together[1]) == sorted(take(make([100, 900], [1, 4]), 10 * WINDOW))


@pytest.mark.parametrize('skipped', [0, 5, 20, 5 * WINDOW, 35 * WINDOW + 15])
def test_by_orientation_skip_gives_the_tail(skipped):
    whole = take(by_orientation(5), skipped + 20 * WINDOW)
    resumed = by_orientation(5)
    resumed.skip(skipped)
    assert take(resumed, 20 * WINDOW) == whole[skipped:]


def test_by_orientation_without_a_batch_size_changes_nothing():
    plain = take(make([100, 900], [1, 4]), 1000)
    assert take(make([100, 900], [1, 4], by_orientation=True), 1000) == plain
    assert take(by_orientation(5), 1000) != plain


class Numbers(BaseDataset):
    """The whole numbers from ``first`` on."""

    def __init__(self, first, size):
        self.first, self.size = first, size
        super().__init__(serialize_data=False)

    def load_data_list(self):
        """As mmengine wants it."""
        return [{'inputs': self.first + i} for i in range(self.size)]


@pytest.mark.parametrize('workers', [0, 2])
def test_built_into_a_loader_by_mmengine(workers):
    dataset = ConcatDataset([Numbers(0, 3), Numbers(100, 9)])
    loader = Runner.build_dataloader(
        dict(
            batch_size=4,
            num_workers=workers,
            dataset=dataset,
            sampler=dict(type='mmdet.SourceRatioSampler', source_ratio=[1, 3]),
        ),
        seed=3,
    )
    assert isinstance(loader.sampler, SourceRatioSampler)
    loader.sampler.set_epoch(7)
    batches = [b['inputs'] for b in itertools.islice(loader, 3)]
    assert [sum(i < 100 for i in b) for b in batches] == [1, 1, 1]
    assert sorted(i for b in batches for i in b) == [0, 1, 2, *range(100, 109)]
    loader.sampler.skip(2 * 4)
    assert next(iter(loader))['inputs'] == batches[2]


def test_a_missing_seed_is_shared_among_ranks():
    cfg = dict(type='SourceRatioSampler', source_ratio=[1])
    with mock.patch('ssod.data.sampler.sync_random_seed', return_value=5) as shared:
        sampler = DATA_SAMPLERS.build(cfg, default_args=dict(dataset=Sources(9), seed=None))
    shared.assert_called_once_with()
    assert take(sampler, 9) == take(make([9], [1], seed=5), 9)
