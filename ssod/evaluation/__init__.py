"""Scores of teacher and student, during training and at its end."""

from ssod.evaluation.fast_coco import FastCocoMetric
from ssod.evaluation.log_lines import ShortLogProcessor
from ssod.evaluation.loops import SemiSupervisedTestLoop, SemiSupervisedValLoop
from ssod.evaluation.summary import SummaryHook

__all__ = [
    'FastCocoMetric',
    'SemiSupervisedTestLoop',
    'SemiSupervisedValLoop',
    'ShortLogProcessor',
    'SummaryHook',
]
