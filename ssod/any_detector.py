"""A mean teacher of any mmdet config: its detector and optimizer in the place of a config's own."""

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
"""What mmdet's configs are meant for where their names do not say so, as 4xb4."""
QUICKER = {
    'RPNHead': 'BatchedRPNHead',
    'Shared2FCBBoxHead': 'BatchedShared2FCBBoxHead',
    'SingleRoIExtractor': 'PyramidRoIExtractor',
}
"""Parts that we have with the same numbers in less time."""


def use_detector(cfg: Config, name: str) -> None:
    """Put another config's detector into a semi-supervised config.

    What goes with the detector comes along: its preprocessor, and its optimizer with the learning
    rate for the labelled images of a step, scaled in proportion (Adam and its kin: by the square
    root, Malladi et al. 2022). Another Faster R-CNN with the same kind of optimizer learns at the
    config's own rate, and from its own loss of classes if it is one of ours, for both are a
    recipe's. The number of classes is the data set's. Images are made as small as the detector's
    own, but never larger than the config's. The selector stays if the scores are of the same kind,
    of a softmax or of sigmoids, and else becomes a threshold for the other. A head that changes its
    way of assigning after some epochs (TOOD) does so at once, for a semi-supervised run has no
    epochs. Factors of single pseudo-label losses stay for another Faster R-CNN alone. The weights
    that the detector's config names, for all of it or its backbone, are the start.

    Args:
        cfg: The semi-supervised config; it is changed.
        name: A config file, or ``mmdet::`` and the name of one of mmdet's own, such as
            ``mmdet::rtmdet/rtmdet_tiny_8xb32-300e_coco.py``.

    Raises:
        FileNotFoundError: If there is no such config.
        ValueError: If it is not a detector's that boxes alone can teach.
    """
    theirs = _load(name)
    require_parts(theirs, name, ('model', 'train_dataloader', 'optim_wrapper', 'test_dataloader'))
    detector = theirs.model
    _check(detector, name)
    preprocessor = detector.pop('data_preprocessor')
    # Where none is given, their images are all of one size; ours are not.
    preprocessor.setdefault('pad_size_divisor', PAD_SIZE_DIVISOR)
    # The views are resized at random already, and YOLOX's way remembers what no checkpoint holds.
    preprocessor.pop('batch_augments', None)
    cfg.model.data_preprocessor.data_preprocessor = preprocessor
    own, cfg.model.detector = cfg.model.detector, detector
    # Factors are of losses by their names, which other detectors do not have or mean otherwise.
    if not _is_faster_rcnn(detector):
        cfg.model.pop('pseudo_factors', None)
    # What the config itself begins with is of another detector.
    cfg.load_from = theirs.get('load_from')
    if theirs.get('find_unused_parameters'):
        # There are some that take no part, and several processes would wait for their gradients.
        cfg.find_unused_parameters = True
    classes = _number_of_classes(cfg)
    set_number_of_classes(detector, classes)
    for part in dicts_in(detector):
        if 'initial_epoch' in part:
            part.initial_epoch = 0
        if part.get('type') in QUICKER:
            part.type = QUICKER[part.type]
    rate = _use_lessons(cfg, own, theirs, name)
    size = _fit_images(cfg, theirs)
    selected = _fit_selector(cfg, own)
    print_log(
        f'{detector.type} of {name}: {classes} classes, images of {size[0]}×{size[1]}, {rate}, '
        f'{selected}',
        'current',
        logging.INFO,
    )


def _fit_selector(cfg: Config, own: ConfigDict) -> str:
    """Choose pseudo-boxes by their score, if that is of another kind; returns what chooses.

    Args:
        cfg: The semi-supervised config, which has the other detector already; it is changed.
        own: The detector that it had.
    """
    is_sigmoid = _has_sigmoid(cfg.model.detector)
    if is_sigmoid == _has_sigmoid(own):
        return "pseudo-boxes by the config's own selector"
    threshold = SIGMOID_THRESHOLD if is_sigmoid else SOFTMAX_THRESHOLD
    cfg.default_hooks.teacher.selector = dict(type='ScoreSelector', threshold=threshold)
    return f'pseudo-boxes from score {threshold}'


def _load(name: str) -> Config:
    package, _, path = name.partition('::')
    if not path:
        return read_config(name, "mmdet's own begin with mmdet::")
    # mmengine would install a package of OpenMMLab's that is not there.
    if not package.isidentifier() or find_spec(package) is None:
        raise FileNotFoundError(
            f"config {name} does not exist, for {package!r} is not installed; mmdet's own begin "
            f'with mmdet::'
        )
    try:
        return get_config(name)
    except (OSError, ValueError, AssertionError) as error:
        raise FileNotFoundError(f'config {name} does not exist: {error}') from None


def _check(detector: ConfigDict, name: str) -> None:
    if not isinstance(detector.get('type'), str):
        raise ValueError(
            f'{name}: its types are classes, as in configs with read_base; take one that has their '
            f'names'
        )
    if 'detector' in detector:
        raise ValueError(f'{name}: {detector.type} has a detector inside; name the config of that')
    check_detector(detector, name)
    kind = detector.get('data_preprocessor', {}).get('type')
    if kind != 'DetDataPreprocessor':
        raise ValueError(f'{name}: {detector.type} does not detect objects in images')
    if 'bbox_head' not in detector.get('roi_head', detector):
        raise ValueError(f'{name}: {detector.type} tells no classes; take a whole detector')


def _number_of_classes(cfg: Config) -> int:
    labeled = innermost(cfg.train_dataloader.dataset.datasets[0])
    classes = labeled.get('metainfo', {}).get('classes')
    return len(classes or DATASETS.get(labeled.type).METAINFO['classes'])


def _is_faster_rcnn(detector: ConfigDict) -> bool:
    kind: str | None = detector.get('roi_head', {}).get('type')
    return kind == 'StandardRoIHead'


def _use_lessons(cfg: Config, own: ConfigDict, theirs: Config, name: str) -> str:
    """Take the loss of classes and the optimizer from where they belong; returns the rate's name.

    Args:
        cfg: The semi-supervised config, which has the other's detector already; it is changed.
        own: The detector that it had.
        theirs: The other config.
        name: Of that.
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
    """For how many images in a step a config's learning rate is meant."""
    told = re.search(r'(\d+)xb(\d+)', name.rpartition('/')[2])
    if told:
        return int(told[1]) * int(told[2])
    batch = theirs.train_dataloader.batch_size * (GPUS if '::' in name else 1)
    # Of the two the larger: mmdet's defaults are also in configs of larger batches.
    return max(theirs.get('auto_scale_lr', {}).get('base_batch_size', 0), batch)


def _use_optimizer(cfg: Config, theirs: Config, at_once: int) -> str:
    """Take the other's optimizer; returns what its learning rate is.

    Args:
        cfg: The semi-supervised config; it is changed.
        theirs: The other.
        at_once: For how many images in a step the other's rate is meant.
    """
    *labeled, _ = ratio = cfg.train_dataloader.sampler.source_ratio
    images = cfg.auto_scale_lr.base_batch_size * sum(labeled) / sum(ratio)
    wrapper = theirs.optim_wrapper
    factor = rate_factor(images, at_once, wrapper.optimizer.type)
    meant = wrapper.optimizer.lr
    wrapper.optimizer.lr = meant * factor
    wrapper.type = cfg.optim_wrapper.get('type', 'OptimWrapper')
    # Of mixed precision, which --amp is for.
    for setting in ('loss_scale', 'dtype'):
        wrapper.pop(setting, None)
    if 'clip_grad' in cfg.optim_wrapper:
        wrapper.setdefault('clip_grad', cfg.optim_wrapper.clip_grad)
    cfg.optim_wrapper = wrapper
    return (
        f'learning rate {meant * factor:.3g} for {images:g} labelled ones, {meant:g} for {at_once}'
    )


def _fit_images(cfg: Config, theirs: Config) -> tuple[int, int]:
    """Scale all sizes of images; returns the size for validation."""
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

    One stage has them and two have a softmax, if the config leaves it to the head; what a loss has
    that leaves it open, its class says.
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
