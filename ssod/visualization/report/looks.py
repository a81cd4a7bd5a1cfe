"""What a checkpoint's models predict on images: the part of a report that needs weights."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from mmdet.registry import DATASETS, MODELS
from mmengine.structures import InstanceData
from torch import Tensor

from ssod.checkpoint_content import classes_of, weights_of
from ssod.checkpoints import load_checkpoint, load_weights
from ssod.data.branches import Branch
from ssod.data.data_sets import spread
from ssod.data.load_image import Pixels, read_rgb
from ssod.data.truth import truth_of
from ssod.inference import predict_each
from ssod.progress import with_progress
from ssod.projection import project_instances, view_to_view
from ssod.pseudo_labels.selectors import (
    ScoreSelector,
    Selector,
    build_selector,
    restore_selector,
)
from ssod.pseudo_labels.stored_labels import StoredLabels
from ssod.pseudo_labels.verdicts import Verdict, judge
from ssod.recipes.stac import NAME, OfflineTeacherHook
from ssod.visualization.detections import drawable
from ssod.visualization.report.images import View, the_data, views_of
from ssod.visualization.report.state import Run, is_hook, teacher_settings


@dataclass(frozen=True)
class Lesson:
    """An unlabelled image as it would be taught to the student.

    Attributes:
        found: All boxes of the teacher in the weak view.
        chosen: Which of them the selector keeps, (N,) of bool.
        verdicts: Each of them judged by the hidden truth; ``None`` if that is unknown.
        weak: The weak view.
        strong: The strong view.
        pseudo: The chosen boxes in the strong view.
    """

    found: InstanceData
    chosen: Tensor
    verdicts: Sequence[Verdict] | None
    weak: View
    strong: View
    pseudo: InstanceData


@dataclass(frozen=True)
class Scored:
    """A validation image with its detections.

    Attributes:
        path: The image's file.
        found: The detections in its pixels.
        truth: The true boxes.
        verdicts: Of each detection.
        backend_args: How the file is read.
    """

    path: str
    found: InstanceData
    truth: InstanceData
    verdicts: Sequence[Verdict]
    backend_args: Any

    def image(self) -> Pixels:
        """The image, RGB."""
        return read_rgb(self.path, self.backend_args)


class TrainedModel:
    """A run's newest checkpoint, ready to predict; on the GPU if there is one.

    Args:
        run: The run.

    Raises:
        FileNotFoundError: If there is none yet.
        ValueError: If it is damaged, names no classes, or does not fit the config's model.
    """

    def __init__(self, run: Run) -> None:
        if run.problem:
            raise ValueError(run.problem)
        if run.checkpoint is None:
            raise FileNotFoundError('There is no checkpoint yet.')
        self.cfg = run.cfg
        self.work_dir = run.work_dir
        checkpoint = load_checkpoint(str(run.checkpoint), 'cpu')
        self.model = MODELS.build(run.cfg.model)
        load_weights(self.model, weights_of(checkpoint), run.checkpoint)
        self.model.to('cuda' if torch.cuda.is_available() else 'cpu').eval()
        classes = classes_of(checkpoint.get('meta'))
        if classes is None:
            raise ValueError(f'{run.checkpoint} does not name its classes.')
        self.classes: Sequence[str] = classes
        self.iteration = int(checkpoint['meta']['iter'])
        self.step = self.iteration - run.burn_in
        """Iterations since the teacher began; negative before."""
        settings = teacher_settings(run.cfg) or {}
        self.min_size = settings.get('min_size', 1.0)
        self.selector: Selector | None = None
        if 'selector' in settings:
            self.selector = build_selector(settings['selector'])
            restore_selector(self.selector, checkpoint.get('teacher', {}).get('selector'))

    @property
    def threshold(self) -> float | None:
        """The score from which boxes are taught; ``None`` if there is no single one."""
        if isinstance(self.selector, ScoreSelector):
            return self.selector.threshold(max(self.step, 0))
        return None

    @torch.no_grad()
    def lessons(self, count: int) -> Iterator[Lesson]:
        """What the teacher would teach now on unlabelled images, one by one.

        Args:
            count: How many images at most.

        Raises:
            FileNotFoundError: If they are not on this machine.
            ValueError: If the run has no teacher, or no unlabelled images.
        """
        if self.selector is None or not hasattr(self.model, 'teach'):
            raise ValueError('The run has no teacher.')
        self.model.step = max(self.step, 0)
        stored = self._stored()
        for weak, strong in views_of(self.cfg, count):
            found = self._teach(weak) if stored is None else stored.in_view(weak.sample)
            yield self._lesson(found, weak, strong, self.selector)

    def _stored(self) -> StoredLabels | None:
        """The stored pseudo-labels of a run that made them beforehand; else ``None``."""
        settings = teacher_settings(self.cfg) or {}
        if not is_hook(settings, OfflineTeacherHook):
            return None
        path = settings.get('ann_file') or self.work_dir / NAME
        return StoredLabels(path, the_data(self.cfg, 'unlabeled').classes or ())

    def _teach(self, weak: View) -> InstanceData:
        # A copy, because the model writes into the sample.
        branch = Branch(inputs=[weak.inputs], data_samples=[weak.sample.clone()])
        return self.model.teach(branch)[0][0].cpu()

    def _lesson(self, found: InstanceData, weak: View, strong: View, selector: Selector) -> Lesson:
        numbered = found[:]
        numbered.numbers = torch.arange(len(found))
        chosen = selector(numbered, self.model.step)
        matrices = view_to_view([weak.sample], [strong.sample])
        (carried,) = project_instances([chosen], matrices, [strong.sample.img_shape], self.min_size)
        kept = torch.zeros(len(found), dtype=torch.bool)
        kept[chosen.numbers] = True
        return Lesson(
            found,
            kept,
            None if weak.truth is None else judge(found, weak.truth, weak.crowds),
            weak,
            strong,
            carried,
        )

    def scored(self, count: int) -> list[Scored]:
        """Detections on validation images: the teacher's, or the model's if it has no teacher.

        Args:
            count: How many images at most.

        Raises:
            FileNotFoundError: If they are not on this machine.
            ValueError: If the config has none.
        """
        dataset = DATASETS.build(the_data(self.cfg, 'val').cfg)
        chosen = spread(len(dataset), count)
        infos = [dataset.get_data_info(i) for i in chosen]
        numbers = with_progress(chosen, 'looking at validation images')
        loaded = (dataset[i] for i in numbers)
        samples = predict_each(self.model, loaded)
        backend = getattr(dataset, 'backend_args', None)
        scored = []
        for info, sample in zip(infos, samples, strict=True):
            found, truth = drawable(sample.pred_instances), truth_of(info)
            verdicts = judge(found, truth, truth_of(info, ignored=True))
            scored.append(Scored(info['img_path'], found, truth, verdicts, backend))
        return scored
