"""Training of the class verifier, before the first iteration."""

import time
from collections.abc import Iterator
from datetime import timedelta
from itertools import islice
from typing import Any

import torch
from mmengine.dist import broadcast, is_main_process
from mmengine.logging import print_log
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from ssod.data.branches import Branch
from ssod.data.sources import ImageSources
from ssod.models.class_verifier import ClassVerifier, LabeledBoxes
from ssod.models.semi_supervised_detector import SemiSupervisedDetector

VIEWS = 4
"""How many views of each labelled image it sees."""
ENOUGH_VIEWS = 4_000
"""No more views are loaded."""
SILENCE = 30.0
"""Seconds between two lines of the log about the progress."""


def fit_verifier(runner: Runner, model: SemiSupervisedDetector, verifier: ClassVerifier) -> None:
    """Train the verifier on the labelled images of a run; rank 0 does it for all.

    Args:
        runner: Has the images.
        model: Has the preprocessing, and is what the run trains.
        verifier: The model's.

    Raises:
        ValueError: If the run's data are not :class:`~ssod.data.sources.ImageSources`, or no
            labelled image has a box.
    """
    sources = runner.train_dataloader.dataset
    if not isinstance(sources, ImageSources):
        raise ValueError(
            f'model.verifier learns from the labelled images of ImageSources, but '
            f'train_dataloader.dataset is {type(sources).__name__}; set model.verifier=None'
        )
    if is_main_process():
        runner.logger.info('verifier: training on the labelled boxes')
        if not verifier.is_pretrained:
            runner.logger.warning(
                'verifier: its backbone has no pretrained weights, so its features are random; '
                'name some in model.verifier.backbone, or set model.verifier=None'
            )
        loader = runner.train_dataloader
        with runner.optim_wrapper.optim_context(runner.model):
            right = verifier.fit(
                _views(sources, model, runner.seed, loader.num_workers),
                torch.Generator().manual_seed(runner.seed),
            )
        if right is not None:
            runner.logger.info(
                'verifier: recognizes %.0f %% of the boxes in held-out images (mean over classes)',
                100 * right,
            )
    for weights in verifier.classifier.parameters():
        broadcast(weights.data)


def _views(
    sources: ImageSources, model: SemiSupervisedDetector, seed: int, num_workers: int
) -> Iterator[LabeledBoxes]:
    """The labelled images as they are trained on, with their boxes."""
    draws = list(islice(sources.labeled_draws(seed, VIEWS), ENOUGH_VIEWS))
    loader: DataLoader[dict[str, Any]] = DataLoader(
        sources, batch_size=None, sampler=draws, num_workers=num_workers, collate_fn=_as_it_is
    )
    told = began = time.monotonic()
    for number, (draw, views) in enumerate(zip(draws, loader, strict=True), 1):
        if time.monotonic() - told > SILENCE:
            told = time.monotonic()
            left = timedelta(seconds=round((told - began) / number * (len(draws) - number)))
            print_log(f'verifier: {number} of {len(draws)} views done, {left} left', 'current')
        branch = Branch(
            inputs=[views['inputs']['labeled']], data_samples=[views['data_samples']['labeled']]
        )
        inputs, (sample,) = model.data_preprocessor.stack(branch)
        truth = sample.gt_instances
        yield LabeledBoxes(int(draw), inputs, truth.bboxes, truth.labels)


def _as_it_is(sample: Any) -> Any:
    """A sample is one image's views and needs no collating."""
    return sample
