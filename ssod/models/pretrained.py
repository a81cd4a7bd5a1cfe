"""Starts or continues student and teacher from the checkpoint of a whole detector."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmdet.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.runner import BaseLoop, Runner
from torch import Tensor, nn

from ssod.checkpoint_content import classes_of, models_in, weights_of
from ssod.models.class_rows import adapt_detector_checkpoint
from ssod.models.semi_supervised_detector import unwrap
from ssod.strict import strict_settings

_BRANCHES = ('student.', 'teacher.')
VERIFIER = 'verifier.'
"""Prefix of a verifier's weights; predictions do not depend on them."""


@HOOKS.register_module()
@strict_settings
class PretrainedDetectorHook(Hook):
    """Fits checkpoints to student and teacher, and refuses those of other detectors.

    The checkpoint of a plain mmdet detector (``load_from``) initializes both; weights that it lacks
    are the student's in both. The checkpoint of a student and a teacher initializes each with its
    own. A class head for other classes is adapted
    (:func:`~ssod.models.class_rows.adapt_detector_checkpoint`). A verifier is loaded only when a
    run is resumed; any other run trains its own. In a test and when a run is resumed, a weight that
    does not fit is an error. Runs whose model has no student are not affected.
    """

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Rewrite a checkpoint before it goes into the model.

        Raises:
            ValueError: If the checkpoint is of another kind of detector, or does not fit where it
                must.
        """
        model = unwrap(runner.model)
        if not hasattr(model, 'student'):
            return
        given = weights_of(checkpoint)
        classes = classes_of(checkpoint.get('meta')), _classes_of_run(runner)
        is_pair = bool(models_in(given))
        fitted, messages = (_fit_pair if is_pair else _fit_plain)(model, given, classes)
        resumes = getattr(runner, '_resume', False)
        mine, its = (_verifier_of(state) for state in (model.state_dict(), given))
        if resumes and _shapes(mine) != _shapes(its):
            messages.append(
                f'it has {"another" if mine and its else "a" if its else "no"} verifier'
            )
        fitted |= its if resumes else mine
        if is_pair and not messages and (resumes or not (mine or its)):
            return
        if resumes and not is_pair:
            raise ValueError(
                'the checkpoint is of a plain detector, from which a run can start but not resume; '
                'set resume=False and give it as load_from'
            )
        own = {key: v for key, v in model.state_dict().items() if key.startswith(_BRANCHES)}
        lacks = bool(own.keys() - fitted.keys()) or _lacks_classes(*classes)
        if resumes or (_is_test(runner) and lacks):
            raise ValueError(
                f'the checkpoint is not of this model: {", ".join(messages[:2])}; use the config '
                f'it was trained with'
            )
        for message in messages:
            runner.logger.info(f'pretrained detector: {message}')
        if not is_pair:
            # Both must start alike.
            start = {key: own['student.' + key.partition('.')[2]] for key in own}
            fitted = {**start, **fitted}
        if 'state_dict' not in checkpoint:
            checkpoint.clear()
        checkpoint['state_dict'] = fitted


_Classes = tuple[tuple[str, ...] | None, tuple[str, ...] | None]
"""Class names of a checkpoint and of the run."""


def _fit_plain(
    model: nn.Module, given: Mapping[str, Tensor], classes: _Classes
) -> tuple[dict[str, Tensor], list[str]]:
    """The weights that both can take from a plain detector, and messages for the user."""
    adapted, messages = adapt_detector_checkpoint(
        given, model.get_submodule('student').state_dict(), *classes
    )
    return {branch + key: v for branch in _BRANCHES for key, v in adapted.items()}, messages


def _fit_pair(
    model: nn.Module, given: Mapping[str, Tensor], classes: _Classes
) -> tuple[dict[str, Tensor], list[str]]:
    """The weights that each can take of its own, and messages: none if everything fits."""
    parts = (*_BRANCHES, VERIFIER)
    fitted = {key: value for key, value in given.items() if not key.startswith(parts)}
    messages = []
    for branch in _BRANCHES:
        name = branch.rstrip('.')
        theirs = {k.removeprefix(branch): v for k, v in given.items() if k.startswith(branch)}
        if not theirs:
            messages.append(f'it has no {name}')
            continue
        mine = model.get_submodule(name).state_dict()
        adapted, told = adapt_detector_checkpoint(theirs, mine, *classes)
        fitted.update({branch + key: value for key, value in adapted.items()})
        messages += [f'{name}: {message}' for message in told]
    return fitted, messages


def _verifier_of(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {key: value for key, value in state.items() if key.startswith(VERIFIER)}


def _shapes(state: Mapping[str, Tensor]) -> dict[str, torch.Size]:
    return {key: value.shape for key, value in state.items()}


def _lacks_classes(source: Sequence[str] | None, target: Sequence[str] | None) -> bool:
    """Whether a checkpoint is known to lack classes of the run."""
    known = {name.casefold() for name in source or ()}
    return bool(known) and not known.issuperset(name.casefold() for name in target or ())


def _is_test(runner: Runner) -> bool:
    """Whether a run only scores."""
    loops = (getattr(runner, name, None) for name in ('_train_loop', '_test_loop'))
    trains, tests = (isinstance(loop, BaseLoop) for loop in loops)
    return tests and not trains


def _classes_of_run(runner: Runner) -> tuple[str, ...] | None:
    """Class names of the run's data, from the loop that is about to run."""
    for name in ('_train_loop', '_val_loop', '_test_loop'):
        loop = getattr(runner, name, None)
        # A loop that is still a config does not run; asking it would build its data.
        if isinstance(loop, BaseLoop):
            return classes_of(getattr(loop.dataloader.dataset, 'metainfo', None))
    return None
