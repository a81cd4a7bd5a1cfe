"""Extract one plain mmdet detector from a student and its teacher."""

from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

from mmdet.models import BaseDetector
from mmdet.registry import MODELS
from mmdet.visualization.palette import get_palette
from mmengine.config import Config, ConfigDict
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from torch import Tensor

from ssod.checkpoint_content import Whose, classes_of, models_in, palette_of, weights_of
from ssod.checkpoints import load_checkpoint, load_weights
from ssod.checks.classes import check_head
from ssod.checks.findings import refuse_errors, some
from ssod.config_parts import dicts_in, name_of
from ssod.data.data_sets import DataSet
from ssod.models.semi_supervised_detector import unwrap


def detector_cfg(cfg: Config) -> ConfigDict:
    """The config of one detector, with the preprocessor that it is used with.

    It will load a checkpoint, so all settings that name pretrained weights are removed.

    Args:
        cfg: The config of a student and a teacher, ours or mmdet's, or of a plain detector.
    """
    model = deepcopy(cfg.model)
    if 'detector' in model:
        preprocessor = model.data_preprocessor
        model = model.detector
        model.data_preprocessor = preprocessor.get('data_preprocessor', preprocessor)
    for part in dicts_in(model):
        _forget_pretrained(part)
    return model


def _forget_pretrained(part: ConfigDict) -> None:
    given = part.get('init_cfg')
    inits = given if isinstance(given, list) else [given]
    left = [init for init in inits if 'Pretrained' not in str((init or {}).get('type'))]
    if len(left) < len(inits):
        part.pop('init_cfg')
        if left:
            part.init_cfg = left
    part.pop('pretrained', None)
    if part.get('type') == 'TorchvisionBackbone':
        part.pop('weights', None)


def weights_of_one(
    state: Mapping[str, Tensor], whose: Whose, path: str | Path
) -> dict[str, Tensor]:
    """The weights of the student or the teacher, with the names that a plain detector uses.

    Args:
        state: The weights of both.
        whose: Which of the two.
        path: The file they are from, for the message.

    Raises:
        ValueError: If there are none.
    """
    prefix = f'{whose}.'
    one = {key.removeprefix(prefix): v for key, v in state.items() if key.startswith(prefix)}
    if not one:
        raise ValueError(f'{path} has no {whose}; use a checkpoint of a run that has one')
    return one


def build_detector(cfg: ConfigDict, state: Mapping[str, Tensor], path: str | Path) -> BaseDetector:
    """Build a detector with its weights, on the CPU and in eval mode.

    Args:
        cfg: See :func:`detector_cfg`.
        state: All of its weights.
        path: The file they are from, for the message.

    Raises:
        ValueError: If they are of another detector.
    """
    detector: BaseDetector = MODELS.build(deepcopy(cfg))
    load_weights(detector, state, path)
    return detector.eval()


def load_detector(
    cfg: Config, checkpoint: str | Path, whose: Whose = 'teacher', score_thr: float = 1.0
) -> tuple[BaseDetector, dict[str, Any]]:
    """Load a trained detector, on the CPU and in eval mode.

    Args:
        cfg: A run's config, or a plain detector's.
        checkpoint: A checkpoint for it.
        whose: Which of the two; a plain detector counts as the teacher.
        score_thr: Lowest score of boxes that are wanted; a higher ``score_thr`` in the config is
            lowered to this.

    Returns:
        The detector, and what its labels stand for; see :func:`classes_and_palette`.

    Raises:
        FileNotFoundError: If the checkpoint does not exist.
        ValueError: If config and checkpoint do not go together, or there is no such detector.
    """
    init_default_scope('mmdet')
    loaded = load_checkpoint(str(checkpoint), 'cpu')
    weights = weights_of(loaded)
    if models_in(weights):
        weights = weights_of_one(weights, whose, checkpoint)
    elif whose == 'student':
        raise ValueError(f'{checkpoint} is of a plain detector, which has no student')
    labels = classes_and_palette(cfg, loaded, checkpoint)
    plain = detector_cfg(cfg)
    _lower_threshold(plain.get('test_cfg') or ConfigDict(), score_thr)
    return build_detector(plain, weights, checkpoint), labels


def _lower_threshold(test_cfg: ConfigDict, score_thr: float) -> None:
    """Lower a detector's own threshold to a score; some keep all boxes and have no threshold."""
    for part in (test_cfg, test_cfg.get('rcnn') or {}):
        if 'score_thr' in part:
            part['score_thr'] = min(part['score_thr'], score_thr)


def load_for_test(runner: Runner, checkpoint: str | Path) -> dict[str, Any]:
    """Load all weights of the model of a test.

    mmengine would leave random whatever a checkpoint does not have, and score that. Only if one of
    student and teacher is scored may the checkpoint lack the other.

    Args:
        runner: Its hooks see the checkpoint first.
        checkpoint: The file.

    Returns:
        The checkpoint's content.

    Raises:
        FileNotFoundError: If it does not exist.
        ValueError: If it is of another model, has none that is scored, or is of other classes.
    """
    loaded = load_checkpoint(str(checkpoint), 'cpu')
    weights = weights_of(loaded)
    held = models_in(weights)
    if held:
        models = (runner.cfg.get('test_cfg') or {}).get('models') or ()
        scored = [weights_of_one(weights, model, checkpoint) for model in models]
        if len(held) == len(scored) == 1:
            # Scoring one needs nothing of the other, so the one may stand for both.
            loaded['state_dict'] = scored[0]
    runner.call_hook('after_load_checkpoint', checkpoint=loaded)
    model = unwrap(runner.model)
    weights, file = weights_of(loaded), runner.cfg.filename
    if not hasattr(model, 'student'):
        if held:
            raise ValueError(
                f'{checkpoint} is of a student and a teacher, but {file} of one detector; use the '
                f"run's own config, or the checkpoint that was published with this one"
            )
        classes = runner.test_loop.dataloader.dataset.metainfo.get('classes')
        _check_same(classes, classes_of(loaded.get('meta')), f'the test of {file}', checkpoint)
    load_weights(model, weights, checkpoint)
    return loaded


def scored_loader(cfg: Config) -> tuple[str, ConfigDict]:
    """The loader that defines how images are prepared for predictions, and its key in the config.

    Raises:
        ValueError: If there is none with a pipeline of its own.
    """
    for name in ('test_dataloader', 'val_dataloader'):
        loader = cfg.get(name)
        if loader and loader.get('dataset', {}).get('pipeline'):
            return name, loader
    raise ValueError(
        f'{cfg.filename}: neither test_dataloader nor val_dataloader has a dataset with a '
        f'pipeline, which defines how images are prepared; add one'
    )


def preparing_steps(cfg: Config) -> tuple[str, list[ConfigDict]]:
    """The transforms that prepare images for predictions, and their key in the config.

    They are those of :func:`scored_loader`, without the one that loads annotations.

    Raises:
        ValueError: As :func:`scored_loader`.
    """
    where, loader = scored_loader(cfg)
    steps = [step for step in loader.dataset.pipeline if name_of(step) != 'LoadAnnotations']
    return f'{where}.dataset.pipeline', steps


def classes_and_palette(
    cfg: Config, checkpoint: Mapping[str, Any], path: str | Path
) -> dict[str, Any]:
    """What the labels of a detector stand for.

    Args:
        cfg: Its config.
        checkpoint: The checkpoint's content, which may name them too.
        path: The checkpoint's file, for the message.

    Returns:
        ``classes``, a name for each label, and ``palette``, an RGB colour (0..255) for each.

    Raises:
        ValueError: If config and checkpoint name different classes, neither names any, or the
            config's head has a different number of them.
    """
    where, loader = scored_loader(cfg)
    data = DataSet(f'{where}.dataset', 'test', loader.dataset)
    meta = checkpoint.get('meta')
    classes = classes_of(meta) or data.classes
    if not classes or isinstance(classes, str):
        raise ValueError(f'{cfg.filename}: {where}.dataset.metainfo has no classes; list them')
    _check_same(data.classes, classes, f'{where}.dataset of {cfg.filename}', path)
    refuse_errors(check_head(cfg.get('model'), classes))
    palette = (loader.dataset.get('metainfo') or {}).get('palette') or palette_of(meta)
    palette = palette or getattr(data.cls, 'METAINFO', {}).get('palette')
    if isinstance(palette, str) or palette is None or len(palette) < len(classes):
        palette = get_palette('random', len(classes))
    colours = [tuple(int(part) for part in colour) for colour in palette[: len(classes)]]
    return {'classes': tuple(classes), 'palette': colours}


def _check_same(ours: Any, theirs: Any, where: str, path: str | Path) -> None:
    """Refuse a checkpoint with other classes than a config's, if both name theirs."""
    if ours and theirs and list(ours) != list(theirs):
        trained, named = (some([str(name) for name in names]) for names in (theirs, ours))
        raise ValueError(
            f'{path} was trained on {trained}, but {where} has {named}; use the config that it '
            f'was trained with'
        )
