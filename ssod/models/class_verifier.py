"""Of which class a region is, told by pretrained features that a few labels have not changed."""

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

from ssod.models.pretrained import named_weights
from ssod.strict import check_ranges, strict_settings

MAPS = 2
"""How many of the backbone's maps are looked at, counted from the last."""
POINTS = 6
"""Points along each side of a region; its feature is the mean of what the maps have there."""
STRIDE = 32
"""The sides of the enlarged image are multiples of this."""
JITTER = 0.12
"""How far labelled boxes are moved and stretched at most, in their sides, for a teacher's are."""
ENOUGH_BOXES = 20_000
"""No more labelled boxes are learnt from."""
STRENGTH = 0.01
"""C of the logistic regression, the inverse of what its weights cost."""
SURENESS = 20
"""A teacher that gives its likeliest class 0.99 counts four times as much as the verifier, one that
gives it 0.9 a seventh as much."""
UNSEEN = -20.0
"""Logit of a class of which there is no labelled box."""


class LabeledBoxes(NamedTuple):
    """A view of a labelled image."""

    image: int
    """Which image it is of."""
    inputs: Tensor
    """(1, 3, H, W), normalized."""
    boxes: Tensor
    """(N, 4), in its pixels."""
    labels: Tensor
    """(N,)"""


@strict_settings
class ClassVerifier(nn.Module):
    """A linear classifier of regions by the features of a frozen pretrained backbone.

    A detector that knows a few images by heart mistakes the classes of others, which the features
    that it began with still tell apart. So these are asked again, in a larger image: the teacher
    alone says whether a region holds an object, the verifier too of which class it would be. After
    "Label, Verify, Correct" (Kaul et al. 2022, section 3.2), which asks a box's nearest neighbours.

    Args:
        backbone: Config of a backbone that begins with pretrained weights; the model gives the
            detector's where there is none.
        num_classes: K; the model gives it.
        scale: How many times the sides of the teacher's view the image has that is looked at.

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

    def forward(self, inputs: Tensor, boxes: list[Tensor]) -> list[Tensor]:
        """Of which class each region is, if it is an object.

        Args:
            inputs: (B, 3, H, W), normalized.
            boxes: Of each image (N, 4), in its pixels.

        Returns:
            Of each image the logarithms (N, K) of the classes' probabilities; float32.
        """
        logits = self.classifier(self._features(inputs, boxes)).float().log_softmax(dim=1)
        return list(torch.split(logits, [len(b) for b in boxes]))

    @torch.no_grad()
    def fit(self, views: Iterable[LabeledBoxes], generator: torch.Generator) -> float | None:
        """Learn the classes of labelled boxes, of :data:`ENOUGH_BOXES` at most.

        Args:
            views: Of labelled images; those without boxes are passed over.
            generator: Draws how the boxes are jittered; on the CPU.

        Returns:
            How good it is: the share of right classes among the boxes of a fifth of the images, as
            told by a classifier of the others', as a mean over the classes. ``None`` if there are
            fewer than five images.

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
        """Let the classifier tell classes (N,) by features (N, C); all classes count the same."""
        mean, deviation = x.mean(axis=0), x.std(axis=0) + 1e-6
        weight = np.zeros((self.classifier.out_features, x.shape[1]))
        bias = np.full(len(weight), UNSEEN)
        seen = np.unique(y)
        bias[seen] = 0.0
        if len(seen) > 1:
            model = LogisticRegression(C=STRENGTH, class_weight='balanced', max_iter=300)
            model.fit((x - mean) / deviation, y)
            rows, biases = model.coef_, model.intercept_
            if len(seen) == 2:  # One row says how much more likely the second is.
                rows, biases = np.concatenate([0 * rows, rows]), np.append(0.0, biases)
            weight[seen] = rows / deviation
            bias[seen] = biases - weight[seen] @ mean
        self.classifier.weight.copy_(torch.from_numpy(weight))
        self.classifier.bias.copy_(torch.from_numpy(bias))

    def _classify(self, x: NDArray[np.float32]) -> NDArray[np.int64]:
        """Classes (N,) by features (N, C)."""
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
        """C: how many channels the maps have together."""
        # Dilated convolutions with reflected borders do not take much smaller images.
        maps = self.backbone(torch.zeros(1, 3, 8 * STRIDE, 8 * STRIDE))[-MAPS:]
        return sum(m.shape[1] for m in maps)


def jittered(boxes: Tensor, generator: torch.Generator) -> Tensor:
    """Boxes (N, 4) whose edges are moved by up to :data:`JITTER` of their width or height."""
    sides = (boxes[:, 2:] - boxes[:, :2]).repeat(1, 2)
    drawn = torch.rand(boxes.shape, generator=generator).to(boxes) * 2 - 1
    return boxes + JITTER * drawn * sides


def verified(logits: Tensor, which: Tensor, softmax: bool) -> Tensor:
    """A teacher's logits with the verifier heard: an object's probability is shared out anew.

    Among the classes the logarithms of the shares are the mean of both, the teacher's with the
    weight c to the power of :data:`SURENESS`, where c is its own share of its likeliest class.

    Args:
        logits: (N, K) with sigmoids, (N, K + 1) with a softmax, the background's last.
        which: Logarithms (N, K) of the probabilities of the classes, see :class:`ClassVerifier`.
        softmax: Whether the logits make one softmax, or K sigmoids; there the likeliest class's
            probability is the object's, and remains that of whichever class is likeliest then.

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
