"""Lets a model label all unlabelled images of a config, once, into a file."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from rich.console import Console

from ssod.checkpoint_content import digest_of
from ssod.data.coco_detections import Entry, coco_of_detections, entry_of
from ssod.data.coco_json import is_text, write_json
from ssod.data.data_sets import data_sets_of
from ssod.files import write_whole
from ssod.plain_detector import preparing_steps, scored_loader
from ssod.progress import progress_bar
from ssod.pseudo_labels.images_to_label import Batch, ImagesToLabel


def label_images(
    cfg: Config, model: BaseModel, classes: Sequence[str], path: Path, source: str, min_score: float
) -> int:
    """Let a model label all unlabelled images of a config, once and without augmentation.

    Images are prepared as for a test. Finished images are stored next to the file, and an
    interrupted call continues from there; a progress bar on stderr shows the time left. Images that
    cannot be read are skipped, and listed on stderr at the end.

    Args:
        cfg: The config with the images, and how to prepare and batch them
            (:func:`~ssod.plain_detector.scored_loader`).
        model: The model that predicts, on the device to use.
        classes: Names of the model's labels.
        path: The COCO JSON to write, whole or not at all.
        source: Where the labels come from, such as the checkpoint. An interrupted call is started
            over instead of continued if the source, ``min_score``, the weights, the config's model
            or preparation, or the places of the images have changed.
        min_score: Boxes with lower scores are left out, in [0, 1].

    Returns:
        The number of images.

    Raises:
        ValueError: If ``min_score`` is out of its range, the config has no unlabelled images, or
            none of them can be read.
    """
    if not 0 <= min_score <= 1:
        raise ValueError(f'score_thr is {min_score}, but must be in [0, 1]')
    images, steps = _images_of(cfg)
    info = {'source': source, 'min_score': min_score, 'images': images.root}
    header = {
        **info,
        'places': images.places,
        'config': _digest_of_config([cfg.model, steps]),
        'weights': digest_of(model.state_dict()),
    }
    begun = path.with_name(f'.{path.name}.begun')
    begun.parent.mkdir(parents=True, exist_ok=True)
    present = set(images.names)
    entries = {entry['file_name']: entry for entry in _read_begun(begun, header)}
    done = {name: entry for name, entry in entries.items() if name in present}
    broken: list[str] = []
    lines = [json.dumps(line) + '\n' for line in (header, *done.values())]
    # Replaced at once: an interruption in between would lose finished images.
    write_whole(begun, ''.join(lines).encode())
    with begun.open('a', encoding='utf-8') as file:
        for entry in _label(cfg, model.eval(), images, set(done), min_score, broken):
            file.write(json.dumps(entry) + '\n')
            file.flush()
            done[entry['file_name']] = entry
    if broken and not done:
        begun.unlink()
        raise ValueError(f'none of the {len(broken)} images could be read: {broken[0]}')
    ordered = [done[name] for name in images.names if name in done]
    write_json(path, coco_of_detections(ordered, classes, info))
    begun.unlink()
    _tell_broken(broken, len(present), images.left_out)
    return len(ordered)


def _images_of(cfg: Config) -> tuple[ImagesToLabel, list[Any]]:
    """A config's unlabelled images, and the steps that prepare them."""
    unlabeled = [d for d in data_sets_of(cfg, ['train']) if d.role == 'unlabeled']
    if not unlabeled:
        raise ValueError(f'{cfg.filename}: train_dataloader has no unlabelled images (TwoViews)')
    steps = preparing_steps(cfg)[1]
    return ImagesToLabel(unlabeled, steps), steps


def _digest_of_config(parts: Sequence[Any]) -> str:
    """A digest of everything in the config that affects the predictions."""
    text = json.dumps(parts, sort_keys=True, default=repr)
    return hashlib.sha256(text.encode()).hexdigest()


def _read_begun(path: Path, header: Entry) -> list[Entry]:
    """Finished images of an interrupted call, if they would be labelled the same way now."""
    lines: list[Entry] = []
    if path.is_file():
        with suppress(ValueError):
            lines.extend(json.loads(line) for line in path.open(encoding='utf-8'))
    return lines[1:] if lines[:1] == [header] else []


@torch.no_grad()
def _label(
    cfg: Config,
    model: BaseModel,
    images: ImagesToLabel,
    done: set[str],
    min_score: float,
    broken: list[str],
) -> Iterator[Entry]:
    """Label the remaining images one by one; reasons for unreadable ones go into ``broken``."""
    if done.issuperset(images.names):
        return
    settings = scored_loader(cfg)[1]
    loader = images.loader(done, settings.batch_size, settings.num_workers)
    batch: Batch
    with progress_bar() as bar:
        for batch in bar.track(loader, description='labelling, in batches'):
            broken += batch.broken
            found = model.test_step(batch.data) if batch.names else []
            for name, sample in zip(batch.names, found, strict=True):
                if is_text(name):
                    yield entry_of(sample, name, min_score)
                else:
                    broken.append(f'{name!a}: its name is not UTF-8; rename it')


def _tell_broken(broken: Sequence[str], total: int, left_out: Sequence[str]) -> None:
    """Name and count the images that were skipped, after places where more may be."""
    lines = [f'skipped: {why}' for why in (*left_out, *broken)]
    if broken:
        lines.append(f'skipped: {len(broken)} of {total} images that cannot be read')
    for line in lines:
        Console(stderr=True).print(line, markup=False, highlight=False, soft_wrap=True)
