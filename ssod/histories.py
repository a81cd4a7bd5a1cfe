"""The memory of logged values, kept short."""

from typing import Any

from mmdet.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.runner import Runner

from ssod.strict import check_ranges, strict_settings

EVERY = 100
"""Iterations between two looks for values that are new."""


@HOOKS.register_module()
@strict_settings
class ShortHistoriesHook(Hook):
    """Let mmengine remember no more of each logged value than its log needs.

    By default it remembers a million, copies all of them at each iteration and saves them with each
    checkpoint. After 180,000 iterations that takes 1.1 ms for each value in each iteration.

    Args:
        length: Iterations that are remembered, at least 1; no window of the log may be longer.

    Raises:
        ValueError: If ``length`` is out of its range.
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
        """Shorten the memory of values that were logged for the first time."""
        if self.every_n_train_iters(runner, EVERY):
            for history in runner.message_hub.log_scalars.values():
                history.max_length = self.length
