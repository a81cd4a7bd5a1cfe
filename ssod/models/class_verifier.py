"""Classifies regions by pretrained features that the few labels have not changed."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from mmdet.registry import MODELS
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import recall_score
from torch import Tensor, nn
from torchvision.ops import roi_align

from ssod.strict import check_ranges, strict_settings
from ssod.weight_files import named_weights

MAPS = 2
"""How many of the backbone's maps are used, counted from the last."""
POINTS = 6
"""Points along each side of a region; its feature is the mean of the maps at these points."""
STRIDE = 32
"""The sides of the enlarged image are multiples of this."""
JITTER = 0.12
"""Most that labelled boxes are moved and stretched, in their sides, to be like a teacher's."""
ENOUGH_BOXES = 20_000
"""Learning stops after so many labelled boxes."""
STRENGTH = 0.01
"""C of the logistic regression, the inverse of its regularization."""
SURENESS = 20
"""A teacher that gives its likeliest class 0.99 counts four and a half times as much as the
verifier, one that gives it 0.9 a seventh as much."""
UNSEEN = -20.0
"""Logit of a class without labelled boxes."""


class LabeledBoxes(NamedTuple):
    """A view of a labelled image."""

    image: int
    """Number of the image."""
    inputs: Tensor
    """(1, 3, H, W), normalized."""
    boxes: Tensor
    """(N, 4), in its pixels."""
    labels: Tensor
    """(N,)"""


@strict_settings
class ClassVerifier(nn.Module):
    """A linear classifier of regions by the features of a frozen pretrained backbone.

    A detector that overfits to a few images confuses classes that its pretrained features still
    tell apart. So these features classify each region as well, in an enlarged image: the teacher
    alone decides whether a region holds an object, both together of which class. After "Label,
    Verify, Correct" (Kaul et al. 2022, section 3.2), which uses a box's nearest neighbours.

    Args:
        backbone: Config of a backbone with pretrained weights; by default the model gives the
            detector's.
        num_classes: Number of classes, K; the model gives it.
        scale: Factor by which the teacher's view is enlarged for the verifier.

    Raises:
        ValueError: If ``scale`` is not positive.
    """

    def __init__(
        self,
        backbone: Mapping[str, Any],
        num_classes: int,
        scale: float = 1.0,
    ) -> None:
        super().__init__()
        check_ranges('verifier', ('scale', scale, scale > 0, 'positive'))
        self.scale = scale
        self.is_pretrained = named_weights(backbone) is not None
        self.backbone: nn.Module = MODELS.build(dict(backbone))
        self.backbone.eval()
        self.classifier = nn.Linear(self._count_features(), num_classes)
        self.requires_grad_(False)

    def train(self, mode: bool = True) -> 'ClassVerifier':
        """Stay in eval mode, whatever the loop says."""
        super().train(False)
        return self

    def forward(self, inputs: Tensor, boxes: list[Tensor]) -> Tensor:
        """Class probabilities of each region, given that it is an object.

        Args:
            inputs: (B, 3, H, W), normalized.
            boxes: For each image (N, 4), in its pixels.

        Returns:
            The logarithms of the classes' probabilities, (N, K) for the regions of all images;
            float32.
        """
        logits: Tensor = self.classifier(self._features(inputs, boxes))
        return logits.float().log_softmax(dim=1)

    @torch.no_grad()
    def fit(self, views: Iterable[LabeledBoxes], generator: torch.Generator) -> float | None:
        """Learn the classes of labelled boxes, up to about :data:`ENOUGH_BOXES`.

        Args:
            views: Views of labelled images; those without boxes are skipped.
            generator: Random generator of the jitter; on the CPU.

        Returns:
            Its recall on the boxes of a fifth of the images, averaged over the classes, when
            trained on the other images. ``None`` if there are fewer than five images with boxes.

        Raises:
            ValueError: If there are no labelled boxes.
        """
        features, labels, images = [], [], []
        for view in views:
            if len(view.boxes) > 0:
                boxes = jittered(view.boxes, generator)
                features.append(self._features(view.inputs, [boxes]).float().cpu())
                labels.append(view.labels.cpu())
                images += [view.image] * len(boxes)
            if len(images) >= ENOUGH_BOXES:
                break
        if not images:
            raise ValueError('model.verifier: no labelled image has a box to learn a class from')
        x, y = torch.cat(features).numpy(), torch.cat(labels).numpy()
        aside = np.unique(images, return_inverse=True)[1] % 5 == 4
        right = None
        if aside.any():
            self._regress(x[~aside], y[~aside])
            true, told = y[aside], self._classify(x[aside])
            right = float(recall_score(true, told, labels=np.unique(true), average='macro'))
        self._regress(x, y)
        return right

    def _regress(self, x: NDArray[np.float32], y: NDArray[np.int64]) -> None:
        """Fit the classifier to classes (N,) and features (N, C); all classes count the same."""
        mean, deviation = x.mean(axis=0), x.std(axis=0) + 1e-6
        weight = np.zeros((self.classifier.out_features, x.shape[1]))
        bias = np.full(len(weight), UNSEEN)
        seen = np.unique(y)
        bias[seen] = 0.0
        if len(seen) > 1:
            model = LogisticRegression(C=STRENGTH, class_weight='balanced', max_iter=300)
            model.fit((x - mean) / deviation, y)
            rows, biases = model.coef_, model.intercept_
            if len(seen) == 2:  # The single row is the logit of the second class.
                rows, biases = np.concatenate([0 * rows, rows]), np.append(0.0, biases)
            weight[seen] = rows / deviation
            bias[seen] = biases - weight[seen] @ mean
        self.classifier.weight.copy_(torch.from_numpy(weight))
        self.classifier.bias.copy_(torch.from_numpy(bias))

    def _classify(self, x: NDArray[np.float32]) -> NDArray[np.int64]:
        """Classes (N,) from features (N, C)."""
        weight, bias = (t.cpu().numpy() for t in (self.classifier.weight, self.classifier.bias))
        labels: NDArray[np.int64] = (x @ weight.T + bias).argmax(axis=1)
        return labels

    def _features(self, inputs: Tensor, boxes: list[Tensor]) -> Tensor:
        """Features (N, C) of all images' regions; float32."""
        height, width = inputs.shape[-2:]
        rows, columns = (max(1, round(x * self.scale / STRIDE)) * STRIDE for x in (height, width))
        enlarged = F.interpolate(inputs, (rows, columns), mode='bilinear', align_corners=False)
        regions = [b.float().clone() for b in boxes]
        for region in regions:
            region[:, 0::2] *= columns / width
            region[:, 1::2] *= rows / height
        pooled = [
            roi_align(m.float(), regions, 1, m.shape[-1] / columns, POINTS, aligned=True)
            for m in self.backbone(enlarged)[-MAPS:]
        ]
        return torch.cat([p.flatten(1) for p in pooled], dim=1)

    @torch.no_grad()
    def _count_features(self) -> int:
        """C: number of channels of all maps together."""
        # Dilated convolutions with reflected borders refuse much smaller images.
        maps = self.backbone(torch.zeros(1, 3, 8 * STRIDE, 8 * STRIDE))[-MAPS:]
        return sum(m.shape[1] for m in maps)


def jittered(boxes: Tensor, generator: torch.Generator) -> Tensor:
    """Boxes (N, 4) whose edges are moved by up to :data:`JITTER` of their width or height."""
    sides = (boxes[:, 2:] - boxes[:, :2]).repeat(1, 2)
    drawn = torch.rand(boxes.shape, generator=generator).to(boxes) * 2 - 1
    return boxes + JITTER * drawn * sides


def verified(logits: Tensor, which: Tensor, softmax: bool) -> Tensor:
    """A teacher's logits, with the object's probability divided anew among the classes.

    The logarithms of the classes' shares are averaged over teacher and verifier; the teacher's
    weight is c to the power of :data:`SURENESS`, where c is its share of its likeliest class.

    Args:
        logits: (N, K) with sigmoids, (N, K + 1) with a softmax, background last.
        which: Logarithms (N, K) of the verifier's class probabilities, see :class:`ClassVerifier`.
        softmax: Whether the logits form one softmax, or K sigmoids. With sigmoids, the likeliest
            class's probability counts as the object's, and the class that is likeliest afterwards
            gets it.

    Returns:
        Logits of the same shape; float32.
    """
    spoken = logits.float().log_softmax(dim=1) if softmax else F.logsigmoid(logits.float())
    classes = spoken[:, :-1] if softmax else spoken
    own = classes.log_softmax(dim=1)
    sure = own.amax(dim=1, keepdim=True).exp() ** SURENESS
    shares = torch.lerp(which, own, sure).log_softmax(dim=1)
    if softmax:
        return torch.cat([classes.logsumexp(dim=1, keepdim=True) + shares, spoken[:, -1:]], dim=1)
    shares -= shares.amax(dim=1, keepdim=True)
    return torch.logit((classes.amax(dim=1, keepdim=True) + shares).exp(), eps=1e-6)
