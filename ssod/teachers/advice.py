"""What to change when an alarm begins."""

from collections import defaultdict
from collections.abc import Mapping

from mmengine.runner import Runner

from ssod.models.semi_supervised_detector import unwrap
from ssod.pseudo_labels.selectors import ScoreSelector
from ssod.teachers.ema_teacher import EMATeacherHook
from ssod.teachers.hook import TeacherHook

_THRESHOLD = "the selector's threshold{threshold}"
_FOLLOW = (
    "check that the teacher follows the student's weights and batch-norm statistics, or lower "
    'decay{decay}'
)
_ADVICE = {
    'images': f'lower {_THRESHOLD} or lengthen burn_in{{burn_in}}',
    'few_boxes': f'lower {_THRESHOLD} or lengthen burn_in{{burn_in}}',
    'many_boxes': f'raise {_THRESHOLD}',
    'classes': f'raise {_THRESHOLD}, lower pseudo_weight{{pseudo_weight}}, or label more images of '
    f'the rare classes',
    'missing': f'lower {_THRESHOLD}, lengthen burn_in{{burn_in}}, or label more images of these '
    f'classes',
    'scores': 'lower pseudo_weight{pseudo_weight} or the learning rate{lr}, or raise decay{decay}',
    'distance': _FOLLOW,
    'gap': f'{_FOLLOW}, or lengthen burn_in{{burn_in}}',
    'gradient': 'lower the learning rate{lr} or pseudo_weight{pseudo_weight}, lengthen the warm-up '
    'or set optim_wrapper.clip_grad',
    'pseudo_loss': 'lower pseudo_weight{pseudo_weight}',
    'non_finite': 'lower the learning rate{lr} or pseudo_weight{pseudo_weight}, set '
    'optim_wrapper.clip_grad, or check the images',
}
"""What to change; the braces stand for the current value of a setting."""


def advice(runner: Runner, name: str) -> str:
    """What to change when an alarm begins, with the current values of the settings."""
    model = unwrap(runner.model)
    step = max(model.step, 0)
    present = {
        'pseudo_weight': model.pseudo_weight(step),
        'lr': runner.optim_wrapper.get_lr()['lr'][0],
    }
    for hook in runner.hooks:
        if isinstance(hook, TeacherHook):
            present['burn_in'] = hook.burn_in
            if isinstance(hook, EMATeacherHook):
                present['decay'] = hook.decay(hook.updates)
            if isinstance(hook.selector, ScoreSelector):
                present['threshold'] = hook.selector.threshold(step)
    return remedy(name, present)


def remedy(name: str, present: Mapping[str, float]) -> str:
    """What to change when an alarm begins.

    Args:
        name: The alarm; for an unknown one (of another version) the advice is empty.
        present: Current values of the known settings: ``pseudo_weight``, ``lr``, ``burn_in``,
            ``decay``, ``threshold``.
    """
    known = {setting: f' ({value:g})' for setting, value in present.items()}
    return _ADVICE.get(name, '').format_map(defaultdict(str, known))
