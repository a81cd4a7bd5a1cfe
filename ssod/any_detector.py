"""A mean teacher of any mmdet config: its detector and optimizer replace a config's own."""

import inspect
import logging
import re
from importlib.util import find_spec

from mmdet.registry import DATASETS, MODELS
from mmengine.config import Config, ConfigDict
from mmengine.hub import get_config
from mmengine.logging import print_log

from ssod.checks.detectors import check_detector
from ssod.config_parts import (
    dicts_in,
    innermost,
    read_config,
    require_parts,
    scale_sizes,
    set_number_of_classes,
    validation_size,
)
from ssod.fitting.batch import rate_factor

SOFTMAX_THRESHOLD = 0.7
SIGMOID_THRESHOLD = 0.4
"""Scores of focal, quality and objectness losses are lower than those of a softmax."""
PAD_SIZE_DIVISOR = 32
"""The coarsest stride of detectors whose maps are merged."""
GPUS = 8
"""What mmdet's configs are meant for if their names do not say so, as 4xb4 does."""
QUICKER = {
    'RPNHead': 'BatchedRPNHead',
    'Shared2FCBBoxHead': 'BatchedShared2FCBBoxHead',
    'SingleRoIExtractor': 'PyramidRoIExtractor',
}
"""Parts for which we have a faster one with the same results."""


def use_detector(cfg: Config, name: str) -> None:
    """Put another config's detector into a semi-supervised config.

    The detector brings its preprocessor, and its optimizer with the learning rate scaled to the
    labelled images of a step, in proportion (Adam and its kin: by the square root, Malladi et al.
    2022). Another Faster R-CNN keeps the config's classification loss if that is one of ours and,
    with the same type of optimizer, the config's learning rate, because both belong to a recipe.
    The number of classes is the data set's. Images become as small as for the detector's own
    config, but never larger than the config's. The selector stays if scores are of the same kind
    (softmax or sigmoid), and is otherwise replaced by a threshold for the other kind. A head that
    changes how it assigns after some epochs (TOOD) does so from the start, because a
    semi-supervised run has no epochs. Factors of single pseudo-label losses stay only for another
    Faster R-CNN. Training starts from the weights that the detector's config names, for the whole
    detector or its backbone.

    Args:
        cfg: The semi-supervised config; it is changed.
        name: A config file, or ``mmdet::`` and the name of one of mmdet's configs, such as
            ``mmdet::rtmdet/rtmdet_tiny_8xb32-300e_coco.py``.

    Raises:
        FileNotFoundError: If there is no such config.
        ValueError: If boxes alone cannot teach its detector.
    """
    theirs = _load(name)
    require_parts(theirs, name, ('model', 'train_dataloader', 'optim_wrapper', 'test_dataloader'))
    detector = theirs.model
    _check(detector, name)
    preprocessor = detector.pop('data_preprocessor')
    # Configs without one have images of one size; ours differ.
    preprocessor.setdefault('pad_size_divisor', PAD_SIZE_DIVISOR)
    # The views are resized at random already, and YOLOX's resizing has a state not in checkpoints.
    preprocessor.pop('batch_augments', None)
    cfg.model.data_preprocessor.data_preprocessor = preprocessor
    own, cfg.model.detector = cfg.model.detector, detector
    # Factors belong to losses by name; other detectors lack these or mean others by them.
    if not _is_faster_rcnn(detector):
        cfg.model.pop('pseudo_factors', None)
    # The config's own start weights are of another detector.
    cfg.load_from = theirs.get('load_from')
    if theirs.get('find_unused_parameters'):
        # Some take no part in a step, and several processes would wait for their gradients.
        cfg.find_unused_parameters = True
    set_number_of_classes(detector, _number_of_classes(cfg))
    for part in dicts_in(detector):
        if 'initial_epoch' in part:
            part.initial_epoch = 0
        if part.get('type') in QUICKER:
            part.type = QUICKER[part.type]
    rate = _use_lessons(cfg, own, theirs, name)
    size = _fit_images(cfg, theirs)
    selected = _fit_selector(cfg, own)
    print_log(
        f'{detector.type} of {name}: images of {size[0]}×{size[1]}, {rate}, {selected}',
        'current',
        logging.INFO,
    )


def _fit_selector(cfg: Config, own: ConfigDict) -> str:
    """Select by a score threshold if scores are of another kind; return what selects.

    Args:
        cfg: The semi-supervised config, which has the other detector already; it is changed.
        own: The detector that it had.
    """
    is_sigmoid = _has_sigmoid(cfg.model.detector)
    if is_sigmoid == _has_sigmoid(own):
        return "the config's own selector"
    threshold = SIGMOID_THRESHOLD if is_sigmoid else SOFTMAX_THRESHOLD
    cfg.default_hooks.teacher.selector = dict(type='ScoreSelector', threshold=threshold)
    return f'score threshold {threshold}'


def _load(name: str) -> Config:
    package, _, path = name.partition('::')
    if not path:
        return read_config(name, "mmdet's own start with mmdet::")
    # mmengine would install a missing package of OpenMMLab's.
    if not package.isidentifier() or find_spec(package) is None:
        raise FileNotFoundError(
            f"config {name} does not exist: {package!r} is not installed; mmdet's own start "
            f'with mmdet::'
        )
    try:
        return get_config(name)
    except (OSError, ValueError, AssertionError) as error:
        raise FileNotFoundError(f'config {name} does not exist: {error}') from None


def _check(detector: ConfigDict, name: str) -> None:
    if not isinstance(detector.get('type'), str):
        raise ValueError(
            f'{name}: its types are classes, as in configs with read_base; use one with their names'
        )
    if 'detector' in detector:
        raise ValueError(
            f'{name}: {detector.type} wraps another detector; give the config of that one'
        )
    check_detector(detector, name)
    kind = detector.get('data_preprocessor', {}).get('type')
    if kind != 'DetDataPreprocessor':
        raise ValueError(f'{name}: {detector.type} does not detect objects in images')
    if 'bbox_head' not in detector.get('roi_head', detector):
        raise ValueError(f'{name}: {detector.type} predicts no classes; use a complete detector')


def _number_of_classes(cfg: Config) -> int:
    labeled = innermost(cfg.train_dataloader.dataset.datasets[0])
    classes = labeled.get('metainfo', {}).get('classes')
    return len(classes or DATASETS.get(labeled.type).METAINFO['classes'])


def _is_faster_rcnn(detector: ConfigDict) -> bool:
    kind: str | None = detector.get('roi_head', {}).get('type')
    return kind == 'StandardRoIHead'


def _use_lessons(cfg: Config, own: ConfigDict, theirs: Config, name: str) -> str:
    """Choose where classification loss and optimizer come from; return a text with the rate.

    Args:
        cfg: The semi-supervised config, which has the other's detector already; it is changed.
        own: The detector that it had.
        theirs: The other config.
        name: The name of the other config.
    """
    optimizer = cfg.optim_wrapper.optimizer
    if all(map(_is_faster_rcnn, (own, cfg.model.detector))):
        loss = own.roi_head.bbox_head.get('loss_cls')
        if loss is not None and MODELS.get(loss.type).__module__.startswith('ssod.'):
            cfg.model.detector.roi_head.bbox_head.loss_cls = loss
        if theirs.optim_wrapper.optimizer.type == optimizer.type:
            return f"the config's own learning rate {optimizer.lr:.3g}"
    return _use_optimizer(cfg, theirs, _images_at_once(theirs, name))


def _images_at_once(theirs: Config, name: str) -> int:
    """How many images per step a config's learning rate is meant for."""
    told = re.search(r'(\d+)xb(\d+)', name.rpartition('/')[2])
    if told:
        return int(told[1]) * int(told[2])
    batch = theirs.train_dataloader.batch_size * (GPUS if '::' in name else 1)
    # The larger of the two: configs with larger batches also contain mmdet's defaults.
    return max(theirs.get('auto_scale_lr', {}).get('base_batch_size', 0), batch)


def _use_optimizer(cfg: Config, theirs: Config, at_once: int) -> str:
    """Take the other's optimizer; return a text with its learning rate.

    Args:
        cfg: The semi-supervised config; it is changed.
        theirs: The other config.
        at_once: How many images per step the other's rate is meant for.
    """
    ratio = cfg.train_dataloader.sampler.source_ratio
    # The last source is the unlabelled one, if there are several.
    images = cfg.auto_scale_lr.base_batch_size * sum(ratio[:-1] or ratio) / sum(ratio)
    wrapper = theirs.optim_wrapper
    factor = rate_factor(images, at_once, wrapper.optimizer.type)
    meant = wrapper.optimizer.lr
    wrapper.optimizer.lr = meant * factor
    wrapper.type = cfg.optim_wrapper.get('type', 'OptimWrapper')
    # These are of mixed precision, which is left to --amp.
    for setting in ('loss_scale', 'dtype'):
        wrapper.pop(setting, None)
    if 'clip_grad' in cfg.optim_wrapper:
        wrapper.setdefault('clip_grad', cfg.optim_wrapper.clip_grad)
    cfg.optim_wrapper = wrapper
    return (
        f'learning rate {meant * factor:.3g} for {images:g} labelled ones ({meant:g} for {at_once})'
    )


def _fit_images(cfg: Config, theirs: Config) -> tuple[int, int]:
    """Scale all image sizes; return the size for validation."""
    ours = validation_size(cfg)
    wanted = validation_size(theirs) or ours
    if ours is None or wanted is None:
        raise ValueError(f'{cfg.filename}: test_dataloader has no Resize with a scale')
    if wanted[0] * wanted[1] >= ours[0] * ours[1]:
        return ours
    scale_sizes(cfg, (wanted[0] / ours[0], wanted[1] / ours[1]))
    return wanted


def _has_sigmoid(detector: ConfigDict) -> bool:
    """Whether the head that predicts has sigmoids.

    If the config leaves it to the head, one-stage detectors have sigmoids and two-stage ones a
    softmax; if the loss leaves it open, its class's default decides.
    """
    head = detector.get('roi_head', detector).bbox_head
    head = head[-1] if isinstance(head, list) else head
    loss = head.get('loss_cls')
    if loss is None:
        return 'roi_head' not in detector
    kind = MODELS.get(loss.type)
    settings = inspect.signature(kind).parameters if kind else {}
    default = settings['use_sigmoid'].default if 'use_sigmoid' in settings else False
    return bool(loss.get('use_sigmoid', default))
