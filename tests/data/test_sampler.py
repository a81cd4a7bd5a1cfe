"""The two-stream sampler."""

import itertools
from unittest import mock

import pytest
from mmdet.registry import DATA_SAMPLERS
from mmengine.dataset import BaseDataset, ConcatDataset
from mmengine.runner import Runner

from ssod.data.sampler import SourceRatioSampler


class Sources:
    """As much of a ConcatDataset as the sampler reads."""

    def __init__(self, *sizes):
        self.cumulative_sizes = list(itertools.accumulate(sizes))

    def __len__(self):
        return self.cumulative_sizes[-1]


def make(sizes, ratio, seed=0, rank=0, world=1):
    with mock.patch('ssod.data.sampler.get_dist_info', return_value=(rank, world)):
        return SourceRatioSampler(Sources(*sizes), source_ratio=ratio, seed=seed)


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
def test_check_batch_size(batch_size, message):
    sampler = make([100, 900], [1, 4])
    if message is None:
        sampler.check_batch_size(batch_size)
    else:
        with pytest.raises(ValueError, match=message):
            sampler.check_batch_size(batch_size)


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
