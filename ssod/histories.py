"""Keeps the history of logged values short."""

from typing import Any

from mmdet.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.runner import Runner

from ssod.strict import check_ranges, strict_settings

EVERY = 100
"""Iterations between two checks for new values."""


@HOOKS.register_module()
@strict_settings
class ShortHistoriesHook(Hook):
    """Limits the history that mmengine keeps of each logged value to what the log needs.

    By default mmengine keeps a million entries, copies all of them in each iteration and saves them
    in each checkpoint. After 180,000 iterations that takes 1.1 ms per value and iteration.

    Args:
        length: Iterations that are kept, at least 1; no window of the log may be longer.

    Raises:
        ValueError: If ``length`` is out of range.
    """

    priority = 'LOW'

    def __init__(self, length: int = 5000) -> None:
        check_ranges('ShortHistoriesHook', ('length', length, length >= 1, 'at least 1'))
        self.length = length

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: dict[str, Any] | None = None,
    ) -> None:
        """Shorten the history of values that were logged for the first time."""
        if self.every_n_train_iters(runner, EVERY):
            for history in runner.message_hub.log_scalars.values():
                history.max_length = self.length
