"""What a study trains, read from one small file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mmengine.config import Config

from ssod.strict import check_keys

START = 'start'
"""Name of the method that trains the weights all methods start from."""


@dataclass(frozen=True)
class DataSource:
    """A data set of a study.

    Args:
        name: Its folder below the data root.
        percents: Label budgets: percentages of the training images.
        train: COCO JSON of the training images, relative to its folder.
        val: COCO JSON of the validation images, relative to its folder.
        images: Folder of the images of both, relative to its folder.
        val_images: Folder of the images of ``val``, if it is another one.
        size: Longer side in pixels to which images are resized for scoring; training sizes are
            scaled in proportion. If ``None``, the configs' sizes are used.
        settings: Config values for this data set only, with dotted keys.
    """

    name: str
    percents: tuple[float, ...]
    train: str = 'annotations/instances_train.json'
    val: str = 'annotations/instances_val.json'
    images: str = 'images'
    val_images: str | None = None
    size: int | None = None
    settings: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Method:
    """A method that is compared.

    Args:
        name: Its name in the tables.
        config: Its config file.
        settings: Values that replace the config's, with dotted keys.
    """

    name: str
    config: Path
    settings: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Run:
    """One training of a study.

    Args:
        data: The data set.
        percent: Percentage of its training images that is labelled.
        seed: Seed of the run, and number of the fold that draws its labelled images.
        method: The method, or the one that trains the weights the others start from.
    """

    data: DataSource
    percent: float
    seed: int
    method: Method

    @property
    def name(self) -> str:
        """Data set, budget, method and seed; unique within the study."""
        return f'{self.data.name}/{self.percent:g}pct/{self.method.name}/{self.seed}'


@dataclass(frozen=True)
class Study:
    """Data sets × label budgets × methods × seeds.

    Args:
        file: The file it was read from.
        data: Data sets.
        methods: Methods; the others are measured against the first.
        seeds: Seeds, each also a fold.
        settings: Config values for all runs, with dotted keys.
        start: Trains the weights that all methods start from, for each data set, budget and seed.
            Without it, they start from an untrained detector.
    """

    file: Path
    data: tuple[DataSource, ...]
    methods: tuple[Method, ...]
    seeds: tuple[int, ...]
    settings: Mapping[str, Any]
    start: Method | None = None

    @property
    def baseline(self) -> str:
        """Name of the method that the others are measured against."""
        return self.methods[0].name

    @property
    def trained(self) -> tuple[Method, ...]:
        """What is trained: the start, if there is one, and the methods."""
        return (self.start, *self.methods) if self.start else self.methods

    def runs(self) -> list[Run]:
        """All trainings, those of the first seed first, so that there is a whole table early.

        For each seed, the starts come before the runs that need them.
        """
        runs = []
        for seed in self.seeds:
            cells = [(data, percent) for data in self.data for percent in data.percents]
            if self.start:
                runs += [Run(data, percent, seed, self.start) for data, percent in cells]
            runs += [
                Run(data, percent, seed, method)
                for data, percent in cells
                for method in self.methods
            ]
        return runs

    def start_of(self, run: Run) -> Run | None:
        """The training whose weights a run begins with, if there is one."""
        if self.start is None or run.method == self.start:
            return None
        return replace(run, method=self.start)


def read_study(path: str | Path) -> Study:
    """Read a study from a file.

    It is Python, like configs, with these names::

        data = dict(voc2007_s320=dict(percents=[10, 5, 1]), bccd=dict(percents=[10, 5]))
        methods = dict(
            supervised='configs/supervised_fasterrcnn_small.py',
            mean_teacher='configs/mt_fasterrcnn_small.py',
            slower=dict(config='configs/mt_fasterrcnn_small.py', settings={...}),
        )
        seeds = [1, 2, 3]
        # Optional. The settings are for all runs; the start's own settings override them.
        settings = {'default_hooks.teacher.burn_in': 0}
        start = dict(config='configs/supervised_fasterrcnn_small.py', settings={...})

    Raises:
        FileNotFoundError: If the file, or the config of a method, does not exist.
        ValueError: If a name or a setting is unknown, given twice, or missing.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'study {path} does not exist; see studies/ for those that do')
    content = Config.fromfile(path).to_dict()
    check_keys(str(path), content, ('data', 'methods', 'seeds', 'settings', START))
    for name in ('data', 'methods', 'seeds'):
        if not content.get(name):
            raise ValueError(
                f'{path}: {name} is missing or empty; see ssod.studies.plan.read_study'
            )
    if START in content['methods']:
        raise ValueError(f'{path}: a method cannot be named {START!r}; choose another name')
    seeds = content['seeds']
    if not (isinstance(seeds, list | tuple) and all(type(s) is int and s >= 0 for s in seeds)):
        raise ValueError(f'{path}: seeds is {seeds!r}, but must be a list of whole numbers')
    _refuse_twice(f'{path}: seeds', seeds)
    for name in ('data', 'methods'):
        if not isinstance(content[name], Mapping):
            raise ValueError(f'{path}: {name} is {content[name]!r}, but must be a dict')
    start = content.get(START)
    return Study(
        file=path,
        data=tuple(_data(path, name, given) for name, given in content['data'].items()),
        methods=tuple(
            _method(f'{path}: methods.{name}', name, given)
            for name, given in content['methods'].items()
        ),
        seeds=tuple(seeds),
        settings=content.get('settings', {}),
        start=_method(f'{path}: {START}', START, start) if start else None,
    )


def _data(path: Path, name: str, given: Mapping[str, Any]) -> DataSource:
    check_keys(f'{path}: data.{name}', given, DataSource.__dataclass_fields__.keys() - {'name'})
    percents = given.get('percents', ())
    numbers = percents if isinstance(percents, list | tuple) else ()
    right = [type(p) in (int, float) and 0 < p < 100 for p in numbers]
    if not right or not all(right):
        raise ValueError(
            f'{path}: data.{name}.percents is {percents!r}; list percentages between 0 and 100'
        )
    # Compared as they appear in the names of runs.
    _refuse_twice(f'{path}: data.{name}.percents', [f'{p:g}' for p in numbers])
    return DataSource(name, **{**given, 'percents': tuple(numbers)})


def _refuse_twice(where: str, values: Sequence[Any]) -> None:
    """Refuse duplicates, which would count one run as two."""
    twice = [value for number, value in enumerate(values) if value in values[:number]]
    if twice:
        raise ValueError(f'{where} has {twice[0]} twice; remove one')


def _method(where: str, name: str, given: str | Mapping[str, Any]) -> Method:
    given = {'config': given} if isinstance(given, str) else given
    check_keys(where, given, ('config', 'settings'))
    config = Path(given.get('config', ''))
    if not config.is_file():
        raise FileNotFoundError(f'{where}.config {config} does not exist')
    return Method(name, config, given.get('settings'))
