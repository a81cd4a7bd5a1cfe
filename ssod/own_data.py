"""Puts a user's data sets into a config, by their paths."""

import contextlib
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.logging import print_log

from ssod.checks.coco import check_coco
from ssod.checks.coco_fields import check_fields
from ssod.checks.findings import refuse_errors
from ssod.config_parts import dicts_in, innermost, require_parts, set_number_of_classes
from ssod.data.coco_json import is_ignored, part_coco, read_coco, write_beside
from ssod.data.convert import convert_for_run, is_coco, split_of, with_classes
from ssod.data.data_sets import DataSet
from ssod.data.folder import look_into, named_by
from ssod.data.splits import draw_labeled

VAL_SHARE = 0.2
"""Share of the labelled images set aside for validation if there are no validation images."""

FEW = 50
"""Validation images below which mAP says little."""

LEAST = 3
"""Fewest labelled images that can be split; a fifth of fewer rounds to none."""

KEPT = ('pipeline', 'filter_cfg', 'test_mode', 'lazy_init')
"""Settings of a data set that do not depend on where its files are."""


@dataclass(frozen=True)
class OwnData:
    """The paths of a user's data.

    Args:
        labeled: COCO JSON of the labelled images; its categories are the classes. Or a folder with
            Pascal VOC's XML files, or a YOLO data.yaml; see :func:`ssod.data.convert.read_labels`.
        images: Folder of the images in a JSON ``labeled``; VOC and YOLO know their own.
        unlabeled: A folder of images, sub-folders included, of which labelled and validation images
            are left out; or a COCO JSON, whose annotations are ignored. Not needed by a config that
            trains on labels alone.
        val: Validation images, in any format that ``labeled`` may have. If not given: the
            validation images of a VOC or YOLO ``labeled``, or else a fifth of the labelled images,
            which are then not trained on.
        val_images: Folder of the images in a JSON ``val``; ``images`` if not given.
        unlabeled_images: Folder of the images in a JSON ``unlabeled``; ``images`` if not given.
        truth: COCO JSON with the true boxes of the unlabelled images, used only to measure the
            precision and recall of pseudo-boxes, never to train.
    """

    labeled: Path
    images: Path | None = None
    unlabeled: Path | None = None
    val: Path | None = None
    val_images: Path | None = None
    unlabeled_images: Path | None = None
    truth: Path | None = None

    def __post_init__(self) -> None:
        # Callers from Python often pass strings.
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None:
                object.__setattr__(self, field.name, Path(value))


def use_data(cfg: Config, data: OwnData, out_dir: Path | None = None) -> None:
    """Replace a config's data; pipelines, batches and samplers stay.

    The heads get as many classes as the labelled images have, and a ``FrequencySelector`` counts
    their boxes.

    Args:
        cfg: A config that trains on labelled sources and an unlabelled one, which is the last, or
            only on labelled ones; it is changed. Without ``out_dir`` it must have a ``work_dir``.
        data: Where the data are.
        out_dir: Where generated files go (a validation split, or converted VOC or YOLO labels);
            the config's ``work_dir`` if ``None``.

    Raises:
        FileNotFoundError: If labels or validation labels do not exist.
        ValueError: If they are in no known format or wrong, have no categories, or are a split that
            an earlier call made; or if the image folder or the unlabelled images are not given.
    """
    scoring = [f'{part}_{of}' for part in ('val', 'test') for of in ('dataloader', 'evaluator')]
    parts = ('model', 'default_hooks', 'train_dataloader', *scoring)
    require_parts(cfg, str(cfg.filename), parts)
    out_dir = Path(cfg.work_dir) if out_dir is None else out_dir
    data = in_coco(data, out_dir)
    labeled, val = data.labeled, data.val
    if val is None:
        labeled, val = part_validation(labeled, out_dir)
    classes = class_names(data.labeled)
    sources = _sources(cfg)
    # The unlabelled images come last; the labelled ones may appear in several views.
    for number in range(max(1, len(sources) - 1)):
        sources[number] = _coco(sources[number], labeled, data.images, classes)
    if len(sources) > 1:
        if data.unlabeled is None:
            raise ValueError(
                f'{cfg.filename} also learns from unlabelled images, but OwnData.unlabeled '
                f'(--unlabeled) is None; give their folder'
            )
        sources[-1] = _unlabeled(sources[-1], data.unlabeled, data, classes)
    images = data.val_images or data.images
    for part in ('val', 'test'):
        loader = cfg[f'{part}_dataloader']
        loader.dataset = _coco(loader.dataset, val, images, classes)
        evaluators = cfg[f'{part}_evaluator']
        for evaluator in evaluators if isinstance(evaluators, list) else [evaluators]:
            evaluator.ann_file = str(val)
    if len(sources) > 1:
        _leave_out_known(sources[-1], sources[0], cfg.val_dataloader.dataset)
    quality = cfg.default_hooks.get('quality')
    if quality is not None:
        quality.ann_file = None if data.truth is None else str(data.truth)
    for part in dicts_in(cfg.default_hooks.get('teacher')):
        if part.get('type') == 'FrequencySelector':
            part.update(ann_file=str(labeled), classes=classes)
    for part in (cfg.model, cfg.default_hooks.get('teacher')):
        set_number_of_classes(part, len(classes))


def in_coco(data: OwnData, work_dir: Path) -> OwnData:
    """The same data as COCO JSON; validation labels have the classes of the labelled images.

    Args:
        data: Where the data are.
        work_dir: Where the JSON files go, in folders ``labels`` and ``val_labels``.

    Raises:
        FileNotFoundError: If labels or their images do not exist.
        ValueError: If they are in no known format, or wrong.
    """
    if not is_coco(data.labeled):
        written = convert_for_run(data.labeled, work_dir / 'labels')
        train, val = split_of(written, 'train', data.labeled), written.get('val')
        data = replace(
            data,
            labeled=train.file,
            images=train.images,
            # The given folder is only that of the other JSONs.
            val_images=data.val_images or (data.images if data.val else None),
            unlabeled_images=data.unlabeled_images or data.images,
        )
        if data.val is None and val is not None and val is not train:
            data = replace(data, val=val.file, val_images=val.images)
    if data.val is not None:
        classes, place = class_names(data.labeled), work_dir / 'val_labels'
        if is_coco(data.val):
            return replace(data, val=with_classes(data.val, classes, place))
        val = split_of(convert_for_run(data.val, place, classes), 'val', data.val)
        data = replace(data, val=val.file, val_images=val.images)
    return data


def as_given(text: str, data: OwnData | None, made: str) -> str:
    """A line that names the user's file instead of a temporary one made from it.

    Args:
        text: The line.
        data: What the user gave.
        made: The folder of the files made from it, ``out_dir`` of :func:`use_data`.
    """
    if data is None:
        return text

    def given(match: re.Match[str]) -> str:
        """The user's file, and what it was read as."""
        of_val = match[1].startswith('val_labels')
        return f'{data.val if of_val else data.labeled} (as {match[1]})'

    return re.sub(rf'{re.escape(made)}/([\w/]+\.json)', given, text)


@contextlib.contextmanager
def errors_as_given(data: OwnData | None, made: str) -> Iterator[None]:
    """Pass the messages of errors through :func:`as_given`."""
    try:
        yield
    except (ValueError, OSError) as error:
        error.args = (as_given(str(error), data, made),)
        raise


def use_folder(cfg: Config, folder: Path) -> None:
    """Replace a config's unlabelled images with a folder.

    Args:
        cfg: A config whose last source is unlabelled; it is changed.
        folder: Images, sub-folders included.

    Raises:
        ValueError: If the config has no unlabelled source, like that of a plain detector.
    """
    if not cfg.get('train_dataloader'):
        raise ValueError(
            f'{cfg.filename}: it has no train_dataloader, like a plain detector; give the '
            f"run's own config and checkpoint, or use tools/predict.py, which accepts plain ones"
        )
    sources = cfg.train_dataloader.dataset.get('datasets') or []
    if len(sources) < 2:
        raise ValueError(
            f'{cfg.filename}: it has no unlabelled images that {folder} could '
            f'replace; for this checkpoint, give the config of a mean teacher of the same detector'
        )
    # A custom data set may name its classes itself.
    classes = DataSet('train_dataloader.dataset.datasets[0]', 'labeled', sources[0]).classes
    sources[-1] = _folder(sources[-1], folder, classes)


def part_validation(labeled: Path, out_dir: Path) -> tuple[Path, Path]:
    """Set a fifth of the labelled images aside for validation; the same file always splits alike.

    It is a fifth of the images with an object, at least one, and a fifth of those without.

    Args:
        labeled: COCO JSON of the labelled images.
        out_dir: Where the JSON files of both parts go, ``labeled.json`` and ``val.json``, or next
            to those of an earlier run, see :func:`ssod.data.coco_json.write_beside`; created if
            missing.

    Returns:
        The file to train on, and the file to validate on.

    Raises:
        ValueError: If there are too few images to split, only one has an object, their entries lack
            fields, or ``labeled`` is such a part itself.
    """
    made = re.fullmatch(r'(?:labeled|val)(_\d+)?\.json', labeled.resolve().name)
    if made and labeled.resolve().parent == out_dir.resolve():
        val_file = out_dir / f'val{made[1] or ""}.json'
        raise ValueError(
            f'{labeled} was split off by an earlier call, and would be split again; give the '
            f'original labels, or also --val {val_file}, or another --work-dir'
        )
    content = read_coco(labeled)
    refuse_errors(check_coco(content, str(labeled), 'labeled'))
    if len(content['images']) < LEAST:
        raise ValueError(
            f'{labeled}: {len(content["images"])} labelled images are too few to set aside some '
            f'for validation; give --val'
        )
    val, _, train = part_coco(content, _drawn_for_validation(content, labeled))
    out_dir.mkdir(parents=True, exist_ok=True)
    labeled, scored = write_beside({out_dir / 'labeled.json': train, out_dir / 'val.json': val})
    counts = len(val['images']), len(val['images']) + len(train['images'])
    doubt = '; with so few, mAP varies by points by chance' if counts[0] < FEW else ''
    print_log(
        f'no validation images given: {counts[0]} of the {counts[1]} labelled images are set aside '
        f'for validation, as {scored.name} in the work directory{doubt}',
        'current',
        logging.WARNING,
    )
    return labeled, scored


def _drawn_for_validation(content: dict[str, Any], labeled: Path) -> set[int | str]:
    annotations = content['annotations']
    counted = {a['image_id'] for a in annotations if not is_ignored(a)}
    ids = [image['id'] for image in content['images']]
    full = [known for known in ids if known in counted]
    empty = [known for known in ids if known not in counted]
    if len(full) == 1:
        raise ValueError(
            f'{labeled}: only one labelled image has an object, so none can be set aside for '
            f'validation; label more, or give --val'
        )
    drawn: set[int | str] = set()
    for group, least in ((full, min(1, len(full))), (empty, 0)):
        if count := max(least, round(VAL_SHARE * len(group))):
            drawn |= draw_labeled(group, 100 * count / len(group), fold=0)
    return drawn


def class_names(ann_file: Path) -> tuple[str, ...]:
    """The classes of a COCO JSON, in the order in which mmdet numbers them: that of the file.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If it is not a COCO JSON, has no categories, or has one without a name.
    """
    categories = read_coco(ann_file)['categories']
    content = {'images': [], 'annotations': [], 'categories': categories}
    refuse_errors(check_fields(content, str(ann_file), 'labeled'))
    names = tuple(category['name'] for category in categories)
    if not names:
        raise ValueError(f'{ann_file}: categories is empty; list the classes to learn')
    return names


def _sources(cfg: Config) -> list[ConfigDict]:
    """The configs of the sources of training images."""
    sources: list[ConfigDict] | None = cfg.train_dataloader.dataset.get('datasets')
    if not sources:
        raise ValueError(
            f'{cfg.filename}: train_dataloader.dataset has no datasets, labelled and unlabelled; '
            f'give a config of ssod, and pass that of a plain detector with --detector'
        )
    return sources


def _coco(
    old: ConfigDict, ann_file: Path, images: Path | None, classes: Sequence[str], **others: Any
) -> ConfigDict:
    if images is None:
        raise ValueError(f'{ann_file} names images, but OwnData.images is None; give their folder')
    return _data_set(
        old,
        KEPT,
        type='CocoDataset',
        data_root='',
        ann_file=str(ann_file),
        data_prefix=dict(img=f'{images}/'),
        metainfo=dict(classes=classes),
        **others,
    )


def _unlabeled(
    old: ConfigDict, unlabeled: Path, data: OwnData, classes: Sequence[str]
) -> ConfigDict:
    if unlabeled.is_dir():
        return _folder(old, unlabeled, classes)
    images = data.unlabeled_images or data.images
    without_boxes = dict(filter_empty_gt=False)
    return _coco(old, unlabeled, images, classes, filter_cfg=without_boxes)


def _leave_out_known(unlabeled: ConfigDict, labeled: ConfigDict, val: ConfigDict) -> None:
    """Leave labelled and validation images out of a folder of unlabelled ones, and log how many.

    Args:
        unlabeled: The unlabelled images, changed if any are left out; a JSON stays as it is.
        labeled: The labelled images, from a COCO JSON.
        val: The validation images, from a COCO JSON.
    """
    folder = innermost(unlabeled)
    if folder.type != 'UnlabeledFolder':
        return
    known = [
        dict(ann_file=source.ann_file, images=source.data_prefix.img)
        for source in map(innermost, (labeled, val))
    ]
    try:
        named = named_by(look_into(Path(folder.data_root)), known)
    except (OSError, ValueError):
        return  # The data checks say what cannot be read, and all else that is wrong.
    counts = list(zip(known, ('labelled', 'validation'), map(len, named), strict=True))
    if any(named):
        folder.exclude = [part for part, _, count in counts if count]
        told = ' and '.join(f'{count:,} {kind}' for _, kind, count in counts if count)
        print_log(f'left out of {folder.data_root}: {told} images', 'current', logging.INFO)


def _folder(old: ConfigDict, folder: Path, classes: Sequence[str] | str | None) -> ConfigDict:
    settings = dict(data_root=str(folder), metainfo=dict(classes=classes))
    return _data_set(old, ('pipeline',), type='UnlabeledFolder', **settings)


def _data_set(old: ConfigDict, kept: Sequence[str], **settings: Any) -> ConfigDict:
    """A data set that replaces an old one, keeping some of its settings and what wraps it."""
    if isinstance(old.get('dataset'), Mapping):
        return ConfigDict({**old, 'dataset': _data_set(old.dataset, kept, **settings)})
    if 'datasets' in old:
        raise ValueError(
            f'{old.type} holds several data sets, which your own data cannot replace; '
            f'leave one of them in the config'
        )
    return ConfigDict({**{key: old[key] for key in kept if key in old}, **settings})
