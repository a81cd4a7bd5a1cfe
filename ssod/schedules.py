"""Values that change over training: pure functions of the step.

The loss weights λ(t) and α(t), the EMA decay and the confidence threshold all take a number or one
of these. A schedule knows nothing about the run; the caller defines what a step is.
"""

import math
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ssod.strict import check_keys, check_ranges, settings_of

Schedule = Callable[[int], float]
"""Maps ``step`` (the first is 0) to a value."""


def constant(value: float) -> Schedule:
    """The same value at every step."""
    return lambda step: value


def linear(end: float, steps: int, start: float = 0.0) -> Schedule:
    """From ``start`` to ``end`` in a straight line over ``steps``, then ``end``."""
    return lambda step: start + (end - start) * _progress(step, steps)


def sigmoid(end: float, steps: int, start: float = 0.0) -> Schedule:
    """The ramp-up exp(-5 (1 - t)²) of Mean Teacher (Tarvainen & Valpola 2017, appendix B.1).

    It starts at ``start`` + 0.0067 (``end`` - ``start``) and stays at ``end`` from ``steps`` on.
    """
    return lambda step: start + (end - start) * math.exp(-5 * (1 - _progress(step, steps)) ** 2)


def cosine(end: float, steps: int, start: float = 0.0) -> Schedule:
    """From ``start`` to ``end`` along half a cosine over ``steps``, then ``end``."""
    return lambda step: end + (start - end) * (1 + math.cos(math.pi * _progress(step, steps))) / 2


def stepwise(values: Sequence[float], milestones: Sequence[int]) -> Schedule:
    """``values[i]`` from milestone ``i - 1`` on; ``values[0]`` before the first milestone.

    Raises:
        ValueError: If there is not one value more than milestones, or milestones do not increase.
    """
    if len(values) != len(milestones) + 1:
        raise ValueError(
            f'stepwise schedule: {len(milestones)} milestones need {len(milestones) + 1} values, '
            f'got {len(values)}'
        )
    if list(milestones) != sorted(set(milestones)):
        raise ValueError(f'stepwise schedule: milestones must increase, got {list(milestones)}')
    return lambda step: values[bisect_right(milestones, step)]


def warm_up(decay: 'float | Mapping[str, Any]', gamma: float = 1.0) -> Schedule:
    """min(``decay``, 1 - ``gamma`` / (t + ``gamma``)): an EMA that forgets its start.

    With ``gamma`` 1, until the decay is reached, the teacher at step t is the plain mean of the
    student's last t + 1 weights (as in Mean Teacher's reference implementation). With a larger
    ``gamma``, as in MixPL, later weights count more.

    Raises:
        ValueError: If ``gamma`` is not above 0.
    """
    check_ranges("schedule 'warm_up'", ('gamma', gamma, gamma > 0, 'above 0'))
    target = build_schedule(decay)
    return lambda step: min(target(step), 1 - gamma / (step + gamma))


_KINDS: dict[str, Callable[..., Schedule]] = {
    make.__name__: make for make in (constant, linear, sigmoid, cosine, stepwise, warm_up)
}


def build_schedule(setting: 'float | Mapping[str, Any]') -> Schedule:
    """Build a schedule from a config's setting.

    Args:
        setting: A number, or a dict such as ``dict(type='sigmoid', end=1.0, steps=2000)``. Types:
            ``constant``, ``linear``, ``sigmoid``, ``cosine``, ``stepwise``, ``warm_up``.

    Raises:
        ValueError: If it is neither, the type or a key is unknown or missing, or a value is
            invalid.
    """
    if isinstance(setting, int | float):
        return constant(setting)
    if not isinstance(setting, Mapping):
        raise ValueError(
            f'schedule: {setting!r} is neither a number nor a dict; give a number, or a dict such '
            f"as dict(type='linear', end=1.0, steps=2000)"
        )
    settings = dict(setting)
    kind = settings.pop('type', None)
    if kind not in _KINDS:
        raise ValueError(f'schedule: unknown type {kind!r}; known: {", ".join(_KINDS)}')
    make = _KINDS[kind]
    known = settings_of(make)
    check_keys(f'schedule {kind!r}', settings, known)
    _check_numbers(kind, settings)
    try:
        return make(**settings)
    except TypeError as error:
        raise ValueError(f'schedule {kind!r}: {error}; it takes {", ".join(known)}') from None


def weight_schedule(name: str, setting: 'float | Mapping[str, Any]') -> Schedule:
    """Build the schedule of a loss weight, λ or α.

    Args:
        name: The name of the setting, for the message.
        setting: As for :func:`build_schedule`.

    Raises:
        ValueError: As there, or if the weight is ever below 0.
    """
    for value in values_of(setting):
        if not value >= 0:
            raise ValueError(f'{name} is {value:g}, but a loss weight must be at least 0')
    return build_schedule(setting)


def values_of(setting: 'float | Mapping[str, Any]') -> list[float]:
    """The values that bound a schedule, in the order of the steps.

    These are the values at the first and last step, or all of ``stepwise``; for ``warm_up``, which
    starts at 0, those of its ``decay``.

    Args:
        setting: As for :func:`build_schedule`.

    Raises:
        ValueError: As there.
    """
    schedule = build_schedule(setting)
    settings = setting if isinstance(setting, Mapping) else {}
    if settings.get('type') == 'stepwise':
        return list(settings['values'])
    if settings.get('type') == 'warm_up':
        return values_of(settings['decay'])
    return [schedule(0), schedule(10**9)]


def _check_numbers(kind: str, settings: Mapping[str, Any]) -> None:
    """Refuse settings that are not numbers but must be; a ``decay`` is a schedule itself."""
    for key, value in settings.items():
        if key in ('values', 'milestones'):
            wanted = 'a list of numbers'
            valid = isinstance(value, Sequence) and all(isinstance(x, int | float) for x in value)
        else:
            wanted, valid = 'a number', key == 'decay' or isinstance(value, int | float)
        if not valid:
            raise ValueError(f'schedule {kind!r}: {key} is {value!r}, but must be {wanted}')


def _progress(step: int, steps: int) -> float:
    """Share of ``steps`` that is done, in [0, 1]."""
    return min(max(step / steps, 0.0), 1.0) if steps > 0 else 1.0
