"""What every test needs."""

import pytest
from mmengine.registry import DefaultScope, init_default_scope

import ssod  # noqa: F401


@pytest.fixture(autouse=True)
def _mmdet_scope():
    """Configs name mmdet's classes, as they do inside a runner."""
    if DefaultScope.get_current_instance() is None:
        init_default_scope('mmdet')
