"""Refuses runs whose ranks would do different things."""

from mmengine.config import Config
from mmengine.dist import all_gather_object

from ssod.config_parts import value_at

FITTED = ('train_cfg.max_iters', 'train_dataloader.batch_size', 'optim_wrapper.optimizer.lr')
"""Settings that are fitted to each process's own data and GPU, and that ranks must share."""


def check_ranks_agree(cfg: Config, iteration: int) -> None:
    """Refuse a run whose ranks have different settings or begin at different iterations.

    DDP averages gradients and nothing else, so students would drift apart, or wait for ever.

    Args:
        cfg: The run's config.
        iteration: Where this rank would begin.

    Raises:
        ValueError: On every rank, with the values of all.
    """
    own = iteration, [str(value_at(cfg, key)) for key in FITTED]
    iterations, settings = zip(*all_gather_object(own), strict=True)
    if len(set(iterations)) > 1:
        raise ValueError(
            f'{cfg.work_dir}: ranks would resume at different iterations, {list(iterations)}; copy '
            f'the checkpoint to each machine, and name it with --resume FILE'
        )
    for key, values in zip(FITTED, zip(*settings, strict=True), strict=True):
        if len(set(values)) > 1:
            told = ', '.join(values)
            raise ValueError(
                f'{cfg.work_dir}: ranks have different values of {key}, {told}, perhaps because '
                f'their GPUs or data differ; set it with --cfg-options'
            )
