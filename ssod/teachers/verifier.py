"""What the verifier of classes learns before the first iteration."""

from collections.abc import Iterator

import torch
from mmengine.dist import broadcast, is_main_process
from mmengine.runner import Runner

from ssod.data.branches import Branch
from ssod.data.sources import ImageSources
from ssod.models.class_verifier import ClassVerifier, LabeledView
from ssod.models.semi_supervised_detector import SemiSupervisedDetector

VIEWS = 4
"""How many views of each labelled image it sees."""


def fit_verifier(runner: Runner, model: SemiSupervisedDetector, verifier: ClassVerifier) -> None:
    """Let the verifier learn the labelled images of a run; rank 0 does, for all.

    Args:
        runner: Has the images.
        model: Has the preprocessing, and is what the run trains.
        verifier: The model's.

    Raises:
        ValueError: If the run's data are no :class:`~ssod.data.sources.ImageSources`, or none of
            their boxes is labelled.
    """
    sources = runner.train_dataloader.dataset
    if not isinstance(sources, ImageSources):
        raise ValueError(
            f'model.verifier learns the labelled images of ImageSources, but '
            f'train_dataloader.dataset is {type(sources).__name__}; set model.verifier=None'
        )
    if is_main_process():
        runner.logger.info('verifier: learns the classes of the labelled boxes')
        with runner.optim_wrapper.optim_context(runner.model):
            right = verifier.fit(
                _views(sources, model, runner.seed), torch.Generator().manual_seed(runner.seed)
            )
        if right is not None:
            runner.logger.info(
                'verifier: tells %.0f %% of the classes in images that it has not learnt (the mean '
                'over classes)',
                100 * right,
            )
    for weights in verifier.classifier.parameters():
        broadcast(weights.data)


def _views(
    sources: ImageSources, model: SemiSupervisedDetector, seed: int
) -> Iterator[LabeledView]:
    """The labelled images as they are trained on, with their boxes."""
    for draw in sources.labeled_draws(seed, VIEWS):
        views = sources[draw]
        branch = Branch(
            inputs=[views['inputs']['labeled']], data_samples=[views['data_samples']['labeled']]
        )
        inputs, (sample,) = model.data_preprocessor.stack(branch)
        truth = sample.gt_instances
        yield LabeledView(int(draw), inputs, truth.bboxes, truth.labels)
