"""Unlabelled images that turn out to be broken during training."""

import logging
from typing import Any

from mmdet.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import Runner

from ssod.data.load_image import printable
from ssod.data.sources import ImageSources
from ssod.strict import check_ranges, strict_settings


@HOOKS.register_module()
@strict_settings
class BrokenImagesHook(Hook):
    """Log and count the unlabelled images that were skipped, and stop if there are too many.

    Each is logged once. Each rank counts its own.

    Args:
        max_share: Largest share of the unlabelled images, in [0, 1], that may be broken.

    Raises:
        ValueError: If ``max_share`` is out of range, or when too many images are broken.
    """

    priority = 'ABOVE_NORMAL'
    """Before the teacher's hook, which removes the strong views during the burn-in."""

    def __init__(self, max_share: float = 0.05) -> None:
        valid = 0 <= max_share <= 1
        check_ranges('BrokenImagesHook', ('max_share', max_share, valid, 'in [0, 1]'))
        self.max_share = max_share
        self.paths: dict[str, None] = {}
        """The broken images, in the order they were found."""

    def before_train(self, runner: Runner) -> None:
        """Look up how many images there are, and forget the broken ones of another run."""
        if runner.iter == 0:
            self.paths.clear()
        dataset = runner.train_dataloader.dataset
        self._total = dataset.num_unlabeled if isinstance(dataset, ImageSources) else 0

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Count what was skipped when this batch was loaded."""
        for sample in data_batch['data_samples'].get('strong', []):
            for path in () if sample is None else sample.get('skipped', ()):
                self._count(path)

    def _count(self, path: str) -> None:
        if path in self.paths:
            return
        self.paths[path] = None
        print_log(
            f'unlabelled image {printable(path)} is broken and was skipped; {len(self.paths)} of '
            f'{self._total} so far',
            'current',
            logging.WARNING,
        )
        if len(self.paths) > self.max_share * self._total:
            raise ValueError(
                f'{len(self.paths)} of {self._total} unlabelled images are broken, more than '
                f'{self.max_share:g} of them; the last one is {printable(path)}; remove them '
                f'(tools/check_data.py lists them all) or raise '
                f'default_hooks.broken_images.max_share'
            )

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Save the broken images."""
        checkpoint['broken_images'] = list(self.paths)

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Continue counting where the checkpoint stopped."""
        self.paths = dict.fromkeys(checkpoint.get('broken_images', []))
