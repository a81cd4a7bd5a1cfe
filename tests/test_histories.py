"""Logged values are not remembered for ever."""

import pytest
from mmengine.runner import Runner

from ssod.histories import ShortHistoriesHook


def test_histories_stay_short(digits_cfg, monkeypatch):
    monkeypatch.setattr('ssod.histories.EVERY', 2)
    digits_cfg.default_hooks.histories.length = 3
    digits_cfg.train_cfg.max_iters = 6
    runner = Runner.from_cfg(digits_cfg)
    runner.train()
    histories = runner.message_hub.log_scalars
    assert {len(h.data[0]) for n, h in histories.items() if n.endswith('loss_cls')} == {3}
    # The last three, and what the log makes of them.
    assert histories['train/lr'].data[0].tolist() == sorted(histories['train/lr'].data[0])
    assert len({id(h) for h in histories.values()}) == len(histories) > 10


def test_a_length_out_of_range_is_refused():
    with pytest.raises(ValueError, match='length is 0'):
        ShortHistoriesHook(0)
