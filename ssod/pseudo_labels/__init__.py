"""Pseudo-boxes: selecting them and measuring their quality."""

from ssod.pseudo_labels.frequency import FrequencySelector
from ssod.pseudo_labels.mixture import MixtureSelector
from ssod.pseudo_labels.peak_mixture import ExpectedCountSelector, PeakMixtureSelector
from ssod.pseudo_labels.quality import PseudoLabelQualityHook
from ssod.pseudo_labels.selectors import (
    ClassScoreSelector,
    ScoreSelector,
    ScoreWeights,
    Selector,
    SelectorChain,
    TopSelector,
    UncertaintySelector,
)

__all__ = [
    'ClassScoreSelector',
    'ExpectedCountSelector',
    'FrequencySelector',
    'MixtureSelector',
    'PeakMixtureSelector',
    'PseudoLabelQualityHook',
    'ScoreSelector',
    'ScoreWeights',
    'Selector',
    'SelectorChain',
    'TopSelector',
    'UncertaintySelector',
]
