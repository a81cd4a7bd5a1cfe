"""Ranks that would do different things are refused."""

import copy

import pytest
from mmengine.config import Config

from ssod import rank_agreement
from ssod.rank_agreement import check_ranks_agree

RUN = Config(
    dict(
        work_dir='run',
        train_cfg=dict(max_iters=9),
        train_dataloader=dict(batch_size=4),
        optim_wrapper=dict(optimizer=dict(lr=0.1)),
    )
)


@pytest.fixture
def agree(monkeypatch):
    """Check two ranks, each with a config and an iteration; the error, which both must raise."""

    def told(cfg, iteration, gather):
        monkeypatch.setattr(rank_agreement, 'all_gather_object', gather)
        try:
            check_ranks_agree(cfg, iteration)
        except ValueError as error:
            return str(error)

    def check(one, other):
        gathered = []
        for rank in (one, other):
            assert told(*rank, lambda own: gathered.append(own) or [own]) is None
        first, second = (told(*rank, lambda _: gathered) for rank in (one, other))
        assert first == second
        return first

    return check


def test_ranks_that_agree(agree):
    assert agree((RUN, 40), (RUN, 40)) is None
    # A config of one's own may lack any of these.
    bare = Config(dict(work_dir='run', train_cfg=dict(max_epochs=2)))
    assert agree((bare, 0), (bare, 0)) is None


def test_ranks_that_would_begin_apart(agree):
    # As where the work directory is on one machine alone.
    assert agree((RUN, 0), (RUN, 40)) == (
        'run: ranks would resume at different iterations, [0, 40]; copy the checkpoint to each '
        'machine, and name it with --resume FILE'
    )


@pytest.mark.parametrize(
    ('key', 'value', 'told'),
    [
        ('train_cfg.max_iters', 18, '9, 18'),
        ('train_dataloader.batch_size', 2, '4, 2'),
        ('optim_wrapper.optimizer.lr', 0.05, '0.1, 0.05'),
    ],
)
def test_ranks_whose_settings_were_fitted_to_different_gpus(agree, key, value, told):
    other = copy.deepcopy(RUN)
    other.merge_from_dict({key: value})
    assert agree((RUN, 0), (other, 0)) == (
        f'run: ranks have different values of {key}, {told}, perhaps because their GPUs or data '
        f'differ; set it with --cfg-options'
    )
