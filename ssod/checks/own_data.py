"""Whether a config can learn from what the user gives."""

from mmdet.models import SemiBaseDetector
from mmdet.registry import MODELS
from mmengine.config import Config

from ssod.config_parts import value_at
from ssod.own_data import OwnData


def check_own_data(cfg: Config, data: OwnData) -> None:
    """Refuse a folder for mmdet's own teachers, and what nothing uses.

    Args:
        cfg: The config with the user's options, before :func:`~ssod.own_data.use_data`.
        data: What the user gives.

    Raises:
        ValueError: If the two do not go together.
    """
    model = MODELS.get(str(value_at(cfg, 'model.type')))
    is_mmdets = model is not None and issubclass(model, SemiBaseDetector)
    if is_mmdets and data.unlabeled is not None and data.unlabeled.is_dir():
        raise ValueError(
            f"{cfg.filename}: model.type {cfg.model.type} is mmdet's own, whose sampler knows no "
            f'folders such as {data.unlabeled}; give a config of ssod, such as '
            f'softteacher_fasterrcnn_coco10pct.py (see docs/from-mmdet.md), or a COCO JSON'
        )
    if data.truth is not None and not value_at(cfg, 'default_hooks.quality'):
        raise ValueError(
            f'{cfg.filename}: default_hooks.quality is None, so nothing uses the truth '
            f'{data.truth}; leave out one of the two'
        )
    if len(value_at(cfg, 'train_dataloader.dataset.datasets') or []) != 1:
        return
    for name in ('unlabeled', 'unlabeled_images', 'truth'):
        given = getattr(data, name)
        if given is not None:
            raise ValueError(
                f'{cfg.filename} learns from no unlabelled images, so nothing uses OwnData.{name} '
                f'(--{name.replace("_", "-")}) {given}; leave it out'
            )
