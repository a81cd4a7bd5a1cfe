"""Calls in processes of their own."""

import os

import pytest

from ssod.benchmarks.alone import alone, new_process


def test_another_process():
    assert alone(os.getpid) != os.getpid()
    # One goes on with what it has.
    with new_process() as process:
        first, second = (process.submit(os.getpid).result() for _ in range(2))
    assert first == second


def test_an_error_comes_back():
    with pytest.raises(ValueError, match='invalid literal'):
        alone(int, 'four')
