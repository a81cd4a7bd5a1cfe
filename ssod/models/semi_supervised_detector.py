"""A student and its teacher: the losses of a training step, and the teacher's predictions."""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from copy import deepcopy
from functools import partial
from typing import Any

import torch
from mmdet.models import BaseDetector
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.model import is_model_wrapper
from mmengine.structures import InstanceData
from torch import Tensor

from ssod.checkpoint_content import WHOSE
from ssod.data.branches import Branch
from ssod.losses.named import Losses, check_factors, named, with_factors
from ssod.models.box_jitter import BoxJitter
from ssod.models.box_weights import weighted_boxes
from ssod.models.class_verifier import ClassVerifier
from ssod.models.consistency import Consistency
from ssod.models.features import Features, features_of, given_features
from ssod.models.losses_of_parts import (
    is_faster_rcnn,
    learns_proposals_alone,
    losses_of_parts,
)
from ssod.models.precise_places import keep_places_precise
from ssod.models.quick_matching import quicken_matching
from ssod.models.region_sampling import region_samplers, sampling_by_image
from ssod.models.regions import project_regions
from ssod.models.strided_conv import mend_strided
from ssod.models.two_stream_preprocessor import refuse_resizing
from ssod.schedules import weight_schedule
from ssod.strict import check_ranges, strict_settings
from ssod.weight_files import localize_checkpoints


@MODELS.register_module()
@strict_settings
class SemiSupervisedDetector(BaseDetector):
    """Two copies of any mmdet detector: L = L_sup + λ(t)·L_pseudo + α(t)·L_consistency.

    Only the student is trained; the teacher has no gradients and stays in eval mode. A hook
    (:class:`~ssod.teachers.hook.TeacherHook`) lets the teacher predict, puts its predictions into
    the batch as pseudo-boxes, and updates the teacher.

    Args:
        detector: Config of the detector, for student and teacher alike.
        data_preprocessor: Config of a
            :class:`~ssod.models.two_stream_preprocessor.TwoStreamPreprocessor`.
        pseudo_weight: λ, a number or a schedule over the iterations since the burn-in.
        pseudo_factors: Additional factors of single pseudo-label losses, by their names in the
            detector. A factor of 0 removes a loss; losses that are not named have a factor of 1.
        box_jitter: Settings of :class:`~ssod.models.box_jitter.BoxJitter`, which measures how
            uncertain the teacher's boxes are; ``None`` if no selector needs it.
        consistency: Settings of :class:`~ssod.models.consistency.Consistency`, including α;
            ``None`` for no consistency loss.
        verifier: Settings of a :class:`~ssod.models.class_verifier.ClassVerifier`, which helps the
            teacher classify the regions of the consistency loss. Its ``backbone`` is by default the
            detector's, with the pretrained weights. With ``None``, or with a single class, the
            teacher decides alone.

    Raises:
        ValueError: If a setting is unknown or out of range, the consistency loss does not support
            the detector's head or is missing for the verifier, or the preprocessor would resize
            whole batches after the teacher has judged regions.
    """

    training: bool
    weighs_boxes = True
    """Whether :meth:`pseudo_loss` weights boxes. Recipes whose loss does not set this to False and
    cannot use selectors that give weights."""
    needs_soft_targets = False
    """Whether :meth:`pseudo_loss` needs the teacher's :meth:`soft_targets` besides its boxes.
    Recipes whose loss does set this to True and cannot learn boxes from a file."""

    def __init__(
        self,
        detector: dict[str, Any],
        data_preprocessor: dict[str, Any],
        pseudo_weight: float | Mapping[str, Any] = 1.0,
        pseudo_factors: Mapping[str, float] | None = None,
        box_jitter: Mapping[str, Any] | None = None,
        consistency: Mapping[str, Any] | None = None,
        verifier: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(data_preprocessor)
        # From copies, because some detectors write into their config.
        self.student: BaseDetector = MODELS.build(deepcopy(detector))
        self.teacher: BaseDetector = MODELS.build(deepcopy(detector))
        self.teacher.requires_grad_(False)
        for model in (self.student, self.teacher):
            keep_places_precise(model)
            mend_strided(model)
            quicken_matching(model)
        self._samplers = region_samplers(self.student)
        # A recipe with its own loss runs the heads itself. The methods are compared, because a
        # recipe that forgot to say so would train without its loss and without a word.
        losses = ('pseudo_loss', 'student_loss')
        own = any(getattr(type(self), x) is not getattr(SemiSupervisedDetector, x) for x in losses)
        self._parts_at_once = is_faster_rcnn(self.student) and not own
        self.pseudo_weight = weight_schedule('pseudo_weight', pseudo_weight)
        self.pseudo_factors = dict(pseudo_factors or {})
        for name, factor in self.pseudo_factors.items():
            check_ranges('pseudo_factors', (name, factor, factor >= 0, 'at least 0'))
        self._strong_regions = not learns_proposals_alone(self.student, self.pseudo_factors)
        self.box_jitter = None if box_jitter is None else BoxJitter(self.student, **box_jitter)
        self.consistency = None if consistency is None else Consistency(self.student, **consistency)
        self.verifier = None if verifier is None else self._build_verifier(detector, verifier)
        if self.consistency:
            refuse_resizing(self.data_preprocessor.data_preprocessor)
        self.predict_on = 'teacher'
        self.step = 0
        """Iterations since the burn-in (negative before); a hook counts them."""

    def _build_verifier(
        self, detector: Mapping[str, Any], settings: Mapping[str, Any]
    ) -> ClassVerifier | None:
        if self.consistency is None:
            raise ValueError(
                'model.verifier classifies the regions of the consistency loss, but '
                'model.consistency is None; set one, or verifier=None'
            )
        if self.consistency.head.num_classes == 1:
            return None
        backbone = settings.get('backbone', detector.get('backbone'))
        return ClassVerifier(
            **{**settings, 'backbone': backbone}, num_classes=self.consistency.head.num_classes
        )

    def train(self, mode: bool = True) -> 'SemiSupervisedDetector':
        """Set the student's mode; the teacher always stays in eval mode.

        The loop calls this before each step; if nothing changes, the modules are not visited.
        """
        if not mode == self.training == self.student.training or self.teacher.training:
            self.training = mode
            for child in self.children():
                child.train(mode and child is not self.teacher)
        return self

    def init_weights(self) -> None:
        """Initialize the student and start the teacher as its copy.

        Raises:
            OSError: If pretrained weights do not exist or cannot be downloaded; names the URL and
                the path.
        """
        pretrained = [self.student, *([self.verifier.backbone] if self.verifier else [])]
        for model in pretrained:
            localize_checkpoints(model)
            model.init_weights()
        self.teacher.load_state_dict(self.student.state_dict())
        self._is_init = True

    def loss(
        self, batch_inputs: Tensor, batch_data_samples: dict[str, list[DetDataSample]]
    ) -> Losses:
        """The losses of one step.

        Args:
            batch_inputs: (B, 3, H, W), labelled images first, then strong views.
            batch_data_samples: Lists ``labeled`` and ``strong``; the latter with pseudo-boxes as
                ``gt_instances``, and empty during the burn-in.

        Returns:
            The student's own losses with the prefix ``sup_``, those of pseudo-boxes with
            ``pseudo_`` (times λ), and the consistency losses with ``consistency_`` (times α).
        """
        labeled, strong = batch_data_samples['labeled'], batch_data_samples['strong']
        weight = self.pseudo_weight(self.step)
        consistency_weight = self.consistency.weight(self.step) if self.consistency else 0.0
        if weight == consistency_weight == 0:
            # Left out rather than multiplied by 0, which would keep a nan.
            batch_inputs, strong = batch_inputs[: len(labeled)], []
        features = self.student.extract_feat(batch_inputs)
        of_strong = features_of(features, len(labeled), len(batch_inputs))
        taught = strong if weight > 0 else []
        sharing: AbstractContextManager[None] = nullcontext()
        if self.consistency is not None:
            sharing = self.consistency.head.sharing(self.student, of_strong)
        with sharing:
            supervised, pseudo = self._box_losses(
                features, of_strong, batch_inputs, labeled, taught
            )
            # The names are the same; check these, so a wrong one fails before the burn-in ends.
            check_factors(supervised, self.pseudo_factors)
            losses = named('sup', supervised)
            losses |= named('pseudo', with_factors(pseudo, self.pseudo_factors), weight)
            if self.consistency is not None and strong and consistency_weight > 0:
                consistency = self.consistency.loss(self.student, of_strong, strong)
                losses |= named('consistency', consistency, consistency_weight)
        return losses

    def _box_losses(
        self,
        features: Features,
        of_strong: Features,
        inputs: Tensor,
        labeled: list[DetDataSample],
        strong: list[DetDataSample],
    ) -> tuple[Losses, Losses]:
        """L_sup, and L_pseudo without λ, which is empty if there is no strong view."""
        if strong and self._parts_at_once:
            return losses_of_parts(
                self.student, self._samplers, features, labeled, strong, self._strong_regions
            )
        border = len(labeled)
        supervised = self.student_loss(features_of(features, 0, border), inputs[:border], labeled)
        if not strong:
            return supervised, {}
        return supervised, self.pseudo_loss(of_strong, inputs[border:], strong)

    def student_loss(
        self, features: Features, inputs: Tensor, samples: list[DetDataSample]
    ) -> Losses:
        """The detector's own loss, for labelled images and, by default, for pseudo-boxes.

        A recipe may override this.

        Args:
            features: Of the images, one map (B, C, H, W) for each level.
            inputs: (B, 3, H, W).
            samples: With the boxes to learn as ``gt_instances``.
        """
        with given_features(self.student, features), sampling_by_image(self._samplers, samples):
            losses: Losses = self.student.loss(inputs, samples)
            return losses

    def pseudo_loss(
        self, features: Features, inputs: Tensor, strong: list[DetDataSample]
    ) -> Losses:
        """L_pseudo without λ: the student's own loss with pseudo-boxes as labels.

        If a selector gave the boxes ``weights``, they are weighted by these. A recipe with its own
        loss overrides this; ``strong`` holds what :meth:`set_soft_targets` put there. For the
        arguments see :meth:`student_loss`.
        """
        with weighted_boxes(self.student, strong):
            return self.student_loss(features, inputs, strong)

    @torch.no_grad()
    def teach(self, weak: Branch) -> tuple[list[InstanceData], list[Any] | None]:
        """The teacher's predictions on the weak views.

        Args:
            weak: Images as loaded, and their samples.

        Returns:
            Each image's predictions (``bboxes``, ``scores``, ``labels``), and its soft target, see
            :meth:`soft_targets`; all in the weak view's pixels.
        """
        inputs, samples = self.data_preprocessor.stack(weak)
        features = self.teacher.extract_feat(inputs)
        remembering: AbstractContextManager[None] = nullcontext()
        if self.consistency is not None:
            remembering = self.consistency.head.remembering(self.teacher, features, samples)
        with given_features(self.teacher, features), remembering:
            predicted = self.teacher.predict(inputs, samples, rescale=False)
            predictions = [sample.pred_instances for sample in predicted]
            if self.box_jitter is not None:
                self.box_jitter.mark(self.teacher, features, samples, predictions)
            return predictions, self.soft_targets(inputs, features, samples, predictions)

    def soft_targets(
        self,
        inputs: Tensor,
        features: Features,
        samples: list[DetDataSample],
        predictions: list[InstanceData],
    ) -> list[Any] | None:
        """What the teacher passes on about each weak view besides its boxes.

        By default these are the regions of the consistency loss, if there is one. A recipe
        overrides this together with :meth:`set_soft_targets`, and may add to ``predictions`` what
        its selector needs.

        Args:
            inputs: (B, 3, H, W), the weak views.
            features: The teacher's features of them.
            samples: Their samples.
            predictions: Of each image, before the selector.

        Returns:
            One target for each image, or ``None`` for none at all.
        """
        if self.consistency is None:
            return None
        verify = partial(self.verifier, inputs) if self.verifier else None
        return list(self.consistency.regions(self.teacher, features, samples, verify))

    def set_soft_targets(
        self, targets: list[Any], strong: list[DetDataSample], matrices: Tensor
    ) -> None:
        """Put soft targets into the strong views' samples, where the losses find them.

        Args:
            targets: One for each image, see :meth:`soft_targets`.
            strong: The strong views' samples; they are changed.
            matrices: (B, 3, 3) homographies from the weak to the strong views.
        """
        regions = project_regions(targets, matrices, [sample.img_shape for sample in strong])
        for sample, of_image in zip(strong, regions, strict=True):
            sample.regions = of_image

    @property
    def predict_on(self) -> str:
        """Which of the two predicts, ``'teacher'`` or ``'student'``; at first the teacher."""
        return self._predict_on

    @predict_on.setter
    def predict_on(self, name: str) -> None:
        """Choose which of the two predicts."""
        if name not in WHOSE:
            raise ValueError(f"predict_on is {name!r}, but must be 'teacher' or 'student'")
        self._predict_on = name

    @contextmanager
    def predicting_on(self, name: str) -> Iterator[None]:
        """Let the teacher or the student predict inside this context."""
        before, self.predict_on = self.predict_on, name
        try:
            yield
        finally:
            self.predict_on = before

    @property
    def _predictor(self) -> BaseDetector:
        return self.teacher if self.predict_on == 'teacher' else self.student

    def predict(
        self, batch_inputs: Tensor, batch_data_samples: list[DetDataSample], rescale: bool = True
    ) -> list[DetDataSample]:
        """Predict with the teacher or the student; see ``BaseDetector.predict``."""
        return self._predictor.predict(batch_inputs, batch_data_samples, rescale=rescale)

    def _forward(
        self, batch_inputs: Tensor, batch_data_samples: list[DetDataSample] | None = None
    ) -> Any:
        return self._predictor(batch_inputs, batch_data_samples, mode='tensor')

    def extract_feat(self, batch_inputs: Tensor) -> Features:
        """Features from the predicting model; one map (B, C, H, W) for each level."""
        return self._predictor.extract_feat(batch_inputs)


def unwrap(model: Any) -> SemiSupervisedDetector:
    """The model inside its distributed wrapper, if it has one."""
    inner: SemiSupervisedDetector = model.module if is_model_wrapper(model) else model
    return inner
