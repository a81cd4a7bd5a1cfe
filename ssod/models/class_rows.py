"""Fits a detector's checkpoint to a detector that may have other classes.

The tensors of a class head have rows for each class. The shapes show which tensors these are: with
``n`` classes in the checkpoint and ``m`` in the model, a tensor with ``a·(n + e)`` rows in one and
``a·(m + e)`` in the other has ``a`` rows per class and ``e`` background classes (0 or 1), which
mmdet puts last. If ``n`` equals ``m``, the names of mmdet's layers decide.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

_CLASS_LAYER = re.compile(
    r'\.(\w*_cls|cls_score|\w*cls_branches|cls_embed|reppoints_cls_out|label_embedding|classify'
    r'|fc_reg|conv_logits|fc_logits|segm_conv|fc_mask_iou|convs_pred)\.(\d+\.)*(weight|bias)$'
    r'|\.cls_convs\.\d+\.\d+\.(weight|bias)$'  # SSD
    r'|\.heatmap_head\.2\.(weight|bias)$'  # CenterNet
    r'|\.center_prior\.(mean|sigma)$'  # AutoAssign
    r'|\.(tl|br)_heat\.\d+\.1\.conv\.(weight|bias)$'  # CornerNet
)
"""Names of layers with rows for each class, in mmdet's heads and ours."""

_REGRESSION = re.compile(r'\.fc_reg\.')
"""Box regression layers of region heads, with four rows for each class or for all. Those of dense
heads have other names, and rows for anchors and sides instead of classes."""

_PROPOSALS = re.compile(r'^rpn_head\.')
"""Layers of the region proposal network, which knows no classes."""

_LEAST_COMMON = 0.1
"""Least share of the model's tensors in a checkpoint of the same kind of detector. Different
detectors with the same backbone share far more."""


def adapt_detector_checkpoint(
    state_dict: Mapping[str, Tensor],
    model_state_dict: Mapping[str, Tensor],
    source_classes: Sequence[str] | None,
    target_classes: Sequence[str] | None,
) -> tuple[dict[str, Tensor], list[str]]:
    """Fit a detector's checkpoint to a detector with other classes.

    Tensors of the same shape are kept. In the class head the rows are matched by class name,
    ignoring case; classes missing in the checkpoint keep the model's values. Ambiguous tensors are
    dropped.

    Args:
        state_dict: The checkpoint's tensors.
        model_state_dict: The model's tensors as they were initialized.
        source_classes: The checkpoint's class names, if known.
        target_classes: The model's class names, if known.

    Returns:
        The tensors that the model can load, and messages for the user: none if the classes are the
        same and all tensors fit.

    Raises:
        ValueError: If the checkpoint and the model have almost nothing in common.
    """
    classes = _ClassRows.between(source_classes, target_classes)
    adapted: dict[str, Tensor] = {}
    messages: list[str] = []
    for key, mine in model_state_dict.items():
        if key not in state_dict:
            continue
        moved = classes.move(key, state_dict[key], mine)
        if moved is None:
            messages.append(
                f'dropped {key}: shape {tuple(state_dict[key].shape)} in the checkpoint, '
                f'{tuple(mine.shape)} in the model, which keeps its initial values'
            )
        else:
            adapted[key] = moved
    _check_common(adapted, state_dict, model_state_dict)
    moved_rows = any(value is not state_dict[key] for key, value in adapted.items())
    about_classes = classes.report(moved_rows, bool(messages))
    return adapted, about_classes + messages + _report_rest(state_dict, model_state_dict)


@dataclass(frozen=True)
class _Layout:
    """How the classes are arranged in the rows of a tensor.

    Args:
        per_class: Rows per class.
        background: Number of background classes after the others: 0 or 1.
        class_major: Whether a class's rows are adjacent (a box's four numbers), rather than apart
            by the number of classes (one for each anchor).
    """

    per_class: int
    background: int
    class_major: bool

    def view(self, tensor: Tensor, classes: int) -> Tensor:
        """A tensor's rows as (rows per class, classes and background, ...)."""
        rest = tensor.shape[1:]
        if self.class_major:
            return tensor.view(classes, self.per_class, *rest).transpose(0, 1)
        return tensor.view(self.per_class, classes + self.background, *rest)


@dataclass(frozen=True)
class _ClassRows:
    """The classes of the model and their counterparts in the checkpoint.

    Args:
        source: Number of classes in the checkpoint, -1 if unknown.
        target: Class names of the model.
        pairs: Indices in the model and in the checkpoint of each class that both have.
    """

    source: int
    target: tuple[str, ...]
    pairs: tuple[tuple[int, int], ...]

    @classmethod
    def between(cls, source: Sequence[str] | None, target: Sequence[str] | None) -> '_ClassRows':
        """Match class names; unknown if either list is missing."""
        if not source or not target:
            return cls(-1, (), ())
        index = {name.casefold(): i for i, name in enumerate(source)}
        pairs = [(i, index[n.casefold()]) for i, n in enumerate(target) if n.casefold() in index]
        return cls(len(source), tuple(target), tuple(pairs))

    @property
    def same(self) -> bool:
        """Whether the classes are the same in the same order, as far as is known."""
        identity = tuple((i, i) for i in range(len(self.target)))
        return self.source in (-1, len(self.target)) and self.pairs == identity

    def move(self, key: str, theirs: Tensor, mine: Tensor) -> Tensor | None:
        """The checkpoint's tensor fitted to the model, or ``None`` if it does not fit.

        Returns ``theirs`` itself if nothing has to change.
        """
        if theirs.shape == mine.shape and not self._has_other_rows(key, theirs):
            return theirs
        layout = self._layout(key, theirs, mine)
        if layout is None:
            return None
        result = mine.detach().clone().contiguous()
        new = layout.view(result, len(self.target))
        old = layout.view(theirs.contiguous(), self.source)
        for to, origin in self.pairs:
            new[:, to] = old[:, origin]
        new[:, len(self.target) :] = old[:, self.source :]
        return result

    def _has_other_rows(self, key: str, theirs: Tensor) -> bool:
        """Whether a layer, by its name, has rows for classes, and the classes differ."""
        if self.same or theirs.ndim == 0 or _PROPOSALS.search(key):
            return False
        if _REGRESSION.search(key):
            # Four rows are for a single class or for all classes together.
            return self.source > 1 and len(theirs) == 4 * self.source == 4 * len(self.target)
        # Fewer rows than classes are for all classes together.
        return _CLASS_LAYER.search(key) is not None and len(theirs) >= self.source

    def _layout(self, key: str, theirs: Tensor, mine: Tensor) -> _Layout | None:
        """How the classes are arranged in a tensor's rows, if there is only one way."""
        if not self.target or _PROPOSALS.search(key) or theirs.shape[1:] != mine.shape[1:]:
            return None
        if theirs.ndim == 0 or mine.ndim == 0:
            return None
        class_major = _REGRESSION.search(key) is not None
        answers = [
            _Layout(len(theirs) // (self.source + e), e, class_major)
            for e in (0, 1)
            if len(theirs) % (self.source + e) == 0
            and len(theirs) // (self.source + e) * (len(self.target) + e) == len(mine)
        ]
        if class_major:
            answers = [a for a in answers if (a.per_class, a.background) == (4, 0)]
        return answers[0] if len(answers) == 1 else None

    def report(self, moved: bool, dropped: bool) -> list[str]:
        """Messages about the classes, if they differ.

        Args:
            moved: Whether rows of any tensor were moved.
            dropped: Whether any tensor was dropped, which has messages of its own.
        """
        if self.same or (dropped and not moved):
            return []
        known = [self.target[i] for i, _ in self.pairs]
        found = f'{len(known)} of {len(self.target)} classes found in the checkpoint'
        if not moved:
            return [f'{found}, but no class head: every tensor is loaded as it is']
        names = f' ({", ".join(known)})' if known else ''
        rest = len(self.target) - len(known)
        return [f'class head adapted: {found}{names}' + (f', {rest} new' if rest else '')]


def _check_common(
    adapted: Mapping[str, Tensor],
    state_dict: Mapping[str, Tensor],
    model_state_dict: Mapping[str, Tensor],
) -> None:
    """Refuse the checkpoint of another kind of detector."""
    if len(adapted) >= _LEAST_COMMON * len(model_state_dict):
        return
    mine = next(key for key in model_state_dict if key not in adapted)
    theirs = next(iter(state_dict), 'nothing')
    raise ValueError(
        f'the checkpoint is not of this kind of detector: it has only {len(adapted)} of the '
        f"model's {len(model_state_dict)} tensors with the same name and shape "
        f'(the model has {mine}, the checkpoint {theirs})'
    )


def _report_rest(
    state_dict: Mapping[str, Tensor], model_state_dict: Mapping[str, Tensor]
) -> list[str]:
    """Messages about tensors that only one side has."""
    messages = []
    missing = [key for key in model_state_dict if key not in state_dict]
    if missing:
        messages.append(
            f"{len(missing)} of the model's {len(model_state_dict)} tensors are not in the "
            f'checkpoint and keep their initial values (first: {missing[0]})'
        )
    unused = [key for key in state_dict if key not in model_state_dict]
    if unused:
        messages.append(
            f"{len(unused)} of the checkpoint's {len(state_dict)} tensors are not in the model and "
            f'are ignored (first: {unused[0]})'
        )
    return messages
