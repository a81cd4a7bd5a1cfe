"""Validation and test of the teacher and the student in one pass over the images."""

import copy
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from mmdet.evaluation import CocoMetric
from mmdet.registry import LOOPS
from mmengine.evaluator import Evaluator
from mmengine.hooks import CheckpointHook
from mmengine.logging import print_log
from mmengine.runner import Runner, TestLoop, ValLoop

from ssod.config_parts import dicts_in
from ssod.evaluation.fast_coco import ITEMS
from ssod.models.semi_supervised_detector import unwrap
from ssod.strict import strict_settings


class _EachModels(Evaluator):
    """Evaluators of several models; their metrics are prefixed with the model's name.

    Args:
        evaluators: The evaluators by model name.
    """

    def __init__(self, evaluators: Mapping[str, Evaluator]) -> None:
        super().__init__([])
        self.evaluators = evaluators

    def evaluate(self, size: int) -> dict[str, float]:
        """Metrics of all models, such as ``teacher/coco/bbox_mAP``."""
        metrics = {}
        for name, evaluator in self.evaluators.items():
            found = evaluator.evaluate(size)
            left_out = [key for key in _coco_scores(evaluator) if key not in found]
            if left_out:
                told = f'the {name} detects nothing at all on these images, so it scores 0'
                print_log(told, 'current', logging.WARNING)
            found.update(dict.fromkeys(left_out, 0.0))
            metrics.update({f'{name}/{key}': value for key, value in found.items()})
        return metrics


class _ScoresModels:
    """The common part of both loops: an evaluator for each model, fed with the same batches."""

    part: str
    runner: Runner
    dataloader: Any
    evaluator: Any

    def _set_models(self, models: Sequence[str], evaluator: Any) -> None:
        unknown = set(models) - {'teacher', 'student'}
        if unknown or not models:
            raise ValueError(
                f"{type(self).__name__}: models is {list(models)}, but must name 'teacher', "
                f"'student' or both"
            )
        evaluators: dict[str, Evaluator] = {}
        for name in models:
            of_model = copy.deepcopy(evaluator)
            if len(models) > 1:
                _name_files(of_model, name)
            evaluators[name] = self.runner.build_evaluator(of_model)
            evaluators[name].dataset_meta = self.dataloader.dataset.metainfo
            for metric in evaluators[name].metrics:
                # Through the process group, as machines may not share a folder for results.
                metric.collect_device = 'gpu'
        self.evaluator = _EachModels(evaluators)

    @torch.no_grad()
    def run_iter(self, idx: int, data_batch: Any) -> None:
        """Let every model predict on one batch; hooks get the outputs of the first."""
        self.runner.call_hook(f'before_{self.part}_iter', batch_idx=idx, data_batch=data_batch)
        first = None
        for name, evaluator in self.evaluator.evaluators.items():
            with unwrap(self.runner.model).predicting_on(name):
                outputs = self.runner.model.val_step(data_batch)
            evaluator.process(data_samples=outputs, data_batch=data_batch)
            first = outputs if first is None else first
        self.runner.call_hook(
            f'after_{self.part}_iter', batch_idx=idx, data_batch=data_batch, outputs=first
        )


@LOOPS.register_module()
@strict_settings
class SemiSupervisedValLoop(_ScoresModels, ValLoop):
    """Validation that scores the teacher, the student or both, reading every image once.

    Metrics are named ``teacher/coco/bbox_mAP`` and ``student/coco/bbox_mAP``. A model that detects
    nothing scores 0, even with mmdet's ``CocoMetric``, which alone would give no score.

    Args:
        runner: The runner.
        dataloader: Validation data, or its config.
        evaluator: Config of the evaluator; each model gets its own.
        models: The models to score.

    Raises:
        ValueError: If ``models`` has another name, or ``save_best`` names a metric that does not
            exist.
    """

    part = 'val'

    def __init__(
        self,
        runner: Runner,
        dataloader: Any,
        evaluator: Any,
        models: Sequence[str] = ('teacher', 'student'),
    ) -> None:
        super().__init__(runner, dataloader, Evaluator([]))
        self._set_models(models, evaluator)
        _check_save_best(runner, models)


@LOOPS.register_module()
@strict_settings
class SemiSupervisedTestLoop(_ScoresModels, TestLoop):
    """Test that scores the teacher, the student or both, exactly like the validation.

    Args:
        runner: The runner.
        dataloader: Test data, or its config.
        evaluator: Config of the evaluator; each model gets its own.
        models: The models to score.

    Raises:
        ValueError: If ``models`` has another name.
    """

    part = 'test'

    def __init__(
        self,
        runner: Runner,
        dataloader: Any,
        evaluator: Any,
        models: Sequence[str] = ('teacher',),
    ) -> None:
        super().__init__(runner, dataloader, Evaluator([]))
        self._set_models(models, evaluator)


def _coco_scores(evaluator: Evaluator) -> Iterator[str]:
    """COCO's box scores, which mmdet's metric leaves out if nothing is detected.

    The log would then repeat the last scores, and ``save_best`` would fail.
    """
    for metric in evaluator.metrics:
        # LVIS's scores have other names.
        is_coco = isinstance(metric, CocoMetric) and metric.default_prefix == 'coco'
        if is_coco and not metric.format_only and 'bbox' in metric.metrics:
            yield from (f'{metric.prefix}/bbox_{item}' for item in metric.metric_items or ITEMS)


def _name_files(evaluator: Any, model: str) -> None:
    """Let metrics that write files use a separate file for each model."""
    for metric in dicts_in(evaluator):
        if metric.get('outfile_prefix') is not None:
            metric['outfile_prefix'] += f'_{model}'
        if metric.get('out_file_path') is not None:
            path = Path(metric['out_file_path'])
            metric['out_file_path'] = str(path.with_name(f'{path.stem}_{model}{path.suffix}'))


def _check_save_best(runner: Runner, models: Sequence[str]) -> None:
    """Refuse a ``save_best`` that matches no metric, which would silently save nothing."""
    for hook in runner.hooks:
        best = getattr(hook, 'save_best', None) if isinstance(hook, CheckpointHook) else None
        for key in [best] if isinstance(best, str) else best or []:
            if key != 'auto' and key.split('/')[0] not in models:
                raise ValueError(
                    f'CheckpointHook: save_best is {key!r}, but metrics begin with '
                    f"{' or '.join(f'{m}/' for m in models)}; use '{models[0]}/{key}'"
                )
