"""A benchmark on the digits, small."""

from pathlib import Path

import pytest

from ssod.benchmarks.pictures import digits
from ssod.benchmarks.steps import Bench

SMALL = {
    'train_dataloader.num_workers': 0,
    'train_dataloader.persistent_workers': False,
    'train_dataloader.batch_size': 4,
}


@pytest.fixture(scope='session')
def digits_root(tmp_path_factory):
    """Where the digits are made."""
    return tmp_path_factory.mktemp('data') / 'digits'


@pytest.fixture(scope='module')
def bench(digits_root, tmp_path_factory):
    """Batches of one labelled image and three others, loaded in the process itself."""
    return Bench(digits(digits_root), tmp_path_factory.mktemp('bench'), SMALL)


@pytest.fixture
def root():
    """The project."""
    return Path(__file__).parents[2]
