"""Write docs/settings.md: all that a config or a Python program can tell ssod.

Names, types and defaults are read from the code, the rest from its docstrings. ``make docs`` runs
this; a test fails while the page is not what the code says.

Example:
    python docs/write_settings.py
"""

import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mmdet import registry
from mmengine.registry import Registry

import ssod
from ssod import api, schedules
from ssod.data.scenes import DigitsScenes
from ssod.files import write_whole
from ssod.models.box_jitter import BoxJitter
from ssod.models.class_verifier import ClassVerifier
from ssod.models.consistency import Consistency
from ssod.teachers.limits import Limits

PAGE = Path(__file__).with_name('settings.md')
LEAD = """# Settings

All that can stand in a config under a name of ssod, with its type and default; written by
`docs/write_settings.py` from the code. A misspelt setting is refused with the nearest name.
`--cfg-options` sets any of them on the command line, such as
`default_hooks.teacher.selector.threshold=0.6`.
"""
TOPICS = {
    'The model': (
        '`model`, with `consistency`, `verifier` and `box_jitter` in it.',
        'SemiSupervisedDetector Consistency ClassVerifier BoxJitter TwoStreamPreprocessor',
    ),
    'Teachers': (
        '`default_hooks.teacher`.',
        'EMATeacherHook PiTeacherHook TemporalTeacherHook OfflineTeacherHook',
    ),
    'Selectors': (
        '`default_hooks.teacher.selector`: which pseudo-boxes are taught.',
        'ScoreSelector ClassScoreSelector TopSelector MixtureSelector PeakMixtureSelector '
        'ExpectedCountSelector FrequencySelector UncertaintySelector ScoreWeights SelectorChain',
    ),
    'Schedules': (
        "In the place of a number, for λ, α, the decay and thresholds: `dict(type='linear', "
        'end=1.0, steps=2000)`.',
        'constant linear sigmoid cosine stepwise warm_up',
    ),
    'Data': (
        '`train_dataloader` and the pipelines of its data sets.',
        'SourceRatioSampler ImageSources UnlabeledFolder LabeledView TwoViews LoadImage '
        'GaussianBlur DigitsDataset DigitsScenes',
    ),
    'Published methods': (
        '`model`, one hook (`MixPLHook`), and parts of detectors; see [recipes](recipes.md).',
        'SoftTeacherDetector DenseTeacher ConsistentTeacher FAM3DHead AdaptiveAssigner MixPL '
        'MixPLHook SoftmaxFocalLoss',
    ),
    'Parts of detectors': (
        '`model.detector`.',
        'TorchvisionBackbone BatchedRPNHead PyramidRoIExtractor BatchedShared2FCBBoxHead '
        'TwoHeadBBoxHead',
    ),
    'Around a run': (
        '`default_hooks`, but for `ShortLogProcessor`, the `log_processor`, and '
        '`Bfloat16OptimWrapper`, an `optim_wrapper`, which `--amp` chooses, and '
        '`MergedGroupsConstructor`, the `constructor` of one; `Limits` are the `limits` of the '
        'watch.',
        'Bfloat16OptimWrapper MergedGroupsConstructor TeacherWatchHook Limits '
        'PseudoLabelQualityHook SummaryHook ShortLogProcessor LoggerHook '
        'PretrainedDetectorHook PrecisePlacesHook BrokenImagesHook WholeCheckpointHook SeedHook '
        'ShortHistoriesHook',
    ),
    'Scores': (
        '`val_cfg`, `test_cfg`, and `val_evaluator`, `test_evaluator`.',
        'SemiSupervisedValLoop SemiSupervisedTestLoop FastCocoMetric',
    ),
    'From Python': (
        'What the tools do, as functions of `ssod`.',
        'train predict pseudo_label sweep_thresholds publish export_onnx OwnData',
    ),
}
"""What there is, in the order in which it is looked for: where it stands, and its names."""
REGISTRIES = [kinds for kinds in vars(registry).values() if isinstance(kinds, Registry)]
GIVEN = {'runner', 'dataloader', 'evaluator', 'dataset', 'init_cfg'}
"""What the runner hands over, or any module of mmengine takes."""
UPSTREAM = ('mmengine', 'mmdet', 'mmcv')
INNER = (Consistency, ClassVerifier, BoxJitter, Limits, DigitsScenes)
"""Settings within settings, which are in no registry."""

SECTION = re.compile(r'^(Args|Attributes|Raises|Returns):\n((?:    .*\n|\n)*)', re.MULTILINE)
ENTRY = re.compile(r'^    (\S[^:\n]*): ((?:.*\n)(?:     .*\n)*)', re.MULTILINE)


def registered() -> dict[str, type]:
    """What importing ssod registers, by name."""
    found = {name: kind for kinds in REGISTRIES for name, kind in kinds.module_dict.items()}
    return {
        name: kind
        for name, kind in found.items()
        # What only a benchmark imports is not for configs.
        if kind.__module__.startswith('ssod.') and not kind.__module__.startswith('ssod.benchmarks')
    }


def described() -> dict[str, Callable[..., Any]]:
    """All that the page is about, by name.

    Raises:
        ValueError: If something has no topic, or a topic names something that there is not.
    """
    found: dict[str, Callable[..., Any]] = {**registered()}
    found |= {kind.__name__: kind for kind in INNER}
    found |= {name: getattr(schedules, name) for name in TOPICS['Schedules'][1].split()}
    found |= {name: getattr(ssod, name) for name in api.__all__}
    named = {name for _, names in TOPICS.values() for name in names.split()}
    if named != found.keys():
        raise ValueError(f'TOPICS of {__file__} lacks or invents {sorted(named ^ found.keys())}')
    return found


def page() -> str:
    """The page."""
    found, text = described(), LEAD
    for title, (place, names) in TOPICS.items():
        text += f'\n## {title}\n\n{place}\n'
        for name in names.split():
            heading = f'ssod.{name}' if name in api.__all__ else name
            text += f'\n### {heading}\n\n{_said(found[name], found)}\n'
    return text


def _said(kind: Callable[..., Any], names: dict[str, Callable[..., Any]]) -> str:
    """What one thing is, and a table of its settings."""
    doc = inspect.cleandoc(kind.__doc__ or '') + '\n'
    first = SECTION.search(doc)
    text = _markdown(doc[: first.start()] if first else doc, names)
    settings = inspect.signature(kind).parameters.values()
    if kind.__module__ == schedules.__name__:
        return f'{text}\n\nSettings: {", ".join(_short(setting) for setting in settings)}.'
    init = inspect.unwrap(kind.__init__) if inspect.isclass(kind) else kind
    package = getattr(init, '__module__', 'ssod').split('.')[0]
    if package in UPSTREAM:
        return f"{text}\n\nSettings: as of {package}'s `{init.__qualname__.split('.')[0]}`."
    rows = [row for setting in settings if (row := _row(kind, setting, names))]
    if rows:
        head = '| setting | type | default | meaning |\n| --- | --- | --- | --- |'
        text += '\n\n' + '\n'.join([head, *rows])
    returns = dict(SECTION.findall(doc)).get('Returns')
    return text if returns is None else f'{text}\n\nReturns: {_markdown(_line(returns), names)}'


def _row(
    kind: Callable[..., Any], setting: inspect.Parameter, names: dict[str, Callable[..., Any]]
) -> str | None:
    """A line of the table, or nothing for what no config says.

    Raises:
        ValueError: If the docstring does not say what a setting is.
    """
    stars = {setting.VAR_POSITIONAL: '*', setting.VAR_KEYWORD: '**'}.get(setting.kind, '')
    meaning = _meaning(kind, stars + setting.name)
    given = setting.name in GIVEN or _type(setting.annotation) == 'BaseDetector'
    if given or (stars and meaning is None):
        return None
    if meaning is None:
        raise ValueError(f'{kind.__name__}: the docstring does not say what {setting.name} is')
    default = '' if setting.default is setting.empty else f'`{setting.default!r}`'
    name, type_ = stars + setting.name, '' if stars else f'`{_type(setting.annotation)}`'
    cells = (f'`{name}`', type_, default, _markdown(meaning, names).replace('|', '\\|'))
    return f'| {" | ".join(cells)} |'


def _meaning(kind: Callable[..., Any], setting: str) -> str | None:
    """What the docstring of a class, or of the nearest base that knows more, says of a setting."""
    for base in inspect.getmro(kind) if inspect.isclass(kind) else (kind,):
        sections = dict(SECTION.findall(inspect.cleandoc(base.__doc__ or '') + '\n'))
        for title in ('Args', 'Attributes'):
            for written, meaning in ENTRY.findall(sections.get(title, '')):
                if setting in written.split(', ') and 'in the base' not in meaning:
                    return _line(meaning)
    return None


def _short(setting: inspect.Parameter) -> str:
    if setting.default is setting.empty:
        return f'`{setting.name}`'
    return f'`{setting.name}` ({setting.default!r} if not given)'


def _type(annotation: Any) -> str:
    """A type as one says it."""
    text = re.sub(r'\b(?:[A-Za-z_]+\.)+(?=[A-Za-z])', '', inspect.formatannotation(annotation))
    text = re.sub(r'(?:dict|Mapping)\[str, Any\]', 'dict', text)
    text = text.replace('Callable[[dict], dict | None]', 'callable').replace('Mapping[', 'dict[')
    text = re.sub(r'Literal\[(.*?)\]', lambda found: found[1].replace(', ', ' | '), text)
    text = re.sub(r'(?:Sequence|Iterable)\[', 'list[', text)
    return text.replace(' | ', ' or ')


def _line(text: str) -> str:
    return ' '.join(text.split())


def _markdown(text: str, names: dict[str, Callable[..., Any]]) -> str:
    """Text of a docstring, with links to what is on the page."""
    text = re.sub(r'``(.+?)``', r'`\1`', text.strip())
    return re.sub(r':\w+:`~?(?:[^`]*\.)?(\w+)`', lambda found: _link(found[1], names), text)


def _link(name: str, names: dict[str, Callable[..., Any]]) -> str:
    heading = f'ssod.{name}' if name in api.__all__ else name
    return f'[`{heading}`](#{heading.lower().replace(".", "")})' if name in names else f'`{name}`'


if __name__ == '__main__':
    write_whole(PAGE, page().encode())
    print(PAGE)
