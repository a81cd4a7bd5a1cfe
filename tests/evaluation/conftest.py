"""A run of a few iterations with scripted validations and a real summary."""

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmcv.transforms import LoadImageFromFile
from mmdet.datasets import CocoDataset
from mmdet.datasets.transforms import LoadAnnotations, PackDetInputs, Resize
from mmengine.dataset import DefaultSampler
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.runner import BaseLoop, Runner
from mmengine.structures import InstanceData
from PIL import Image
from torch.utils.data import DataLoader

from ssod.evaluation import summary
from ssod.evaluation.summary import SummaryHook
from ssod.teachers.hook import TeacherHook

LAST = {
    'teacher/coco/bbox_mAP': 0.427,
    'teacher/coco/bbox_mAP_50': 0.7234,
    'student/coco/bbox_mAP': 0.401,
    'student/coco/bbox_mAP_50': 0.7,
}
START = {'teacher/coco/bbox_mAP': 0.277, 'teacher/coco/bbox_mAP_50': 0.5551}
BOXES = {'teacher': (8, 8, 40, 40), 'student': (56, 56, 88, 88)}


class PlainDetector(BaseModel):
    """Finds the student's box on every image, and remembers how it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.asked: list[tuple[str, bool, str]] = []
        self.trained: list[bool] = []

    @property
    def predictor(self) -> str:
        return 'student'

    def forward(self, inputs: Any, data_samples: Any = None, mode: str = 'tensor') -> Any:
        if mode == 'loss':
            self.trained.append(self.training)
            return {'loss': self.weight.sum()}
        for sample in data_samples:
            self.asked.append((self.predictor, self.training, Path(sample.img_path).name))
            sample.pred_instances = InstanceData(
                bboxes=torch.tensor([BOXES[self.predictor]]) + self.weight,
                labels=torch.tensor([1]),
                scores=torch.tensor([0.8]),
            )
        return data_samples


class Detector(PlainDetector):
    """Finds the box of the teacher or the student."""

    predict_on = 'teacher'

    @property
    def predictor(self) -> str:
        return self.predict_on

    @contextmanager
    def predicting_on(self, name: str) -> Iterator[None]:
        before, self.predict_on = self.predict_on, name
        yield
        self.predict_on = before


class ScriptedLoop(BaseLoop):
    """A validation with given metrics, one set a time, the last again and again."""

    def __init__(
        self, runner: Runner, dataloader: Any, evaluator: Any, metrics: list[dict[str, float]]
    ) -> None:
        super().__init__(runner, dataloader)
        self.metrics = metrics
        self.runs = 0

    def run(self) -> Any:
        self.runner.model.eval()
        torch.rand(1)  # as the order of a loader's images does
        metrics = dict(self.metrics[min(self.runs, len(self.metrics) - 1)])
        self.runs += 1
        self.runner.call_hook('after_val_epoch', metrics=metrics)
        return metrics


class Teaching(TeacherHook):
    """A teacher that begins after the burn-in and teaches nothing."""

    def __init__(self, burn_in: int) -> None:
        self.burn_in = burn_in

    def decay_now(self) -> float:
        return 0.0

    def before_train(self, runner: Runner) -> None: ...

    def before_train_iter(self, *_: Any, **__: Any) -> None: ...

    def after_train_iter(self, *_: Any, **__: Any) -> None: ...

    def before_save_checkpoint(self, *_: Any, **__: Any) -> None: ...

    def after_load_checkpoint(self, *_: Any, **__: Any) -> None: ...


class Messages(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def digits(root: Path, count: int) -> CocoDataset:
    """Validation images of 96 px, each with one true box and one crowd, loaded at 48 px."""
    root.mkdir(exist_ok=True, parents=True)
    images, annotations = [], []
    for i in range(count):
        Image.fromarray(np.full((96, 96, 3), (60, 0, 60), np.uint8)).save(root / f'{i}.png')
        images.append({'id': i, 'file_name': f'{i}.png', 'height': 96, 'width': 96})
        for crowd, box in enumerate(([30, 40, 20, 20], [5, 70, 20, 20])):
            annotations.append(
                {'id': 2 * i + crowd, 'image_id': i, 'bbox': box, 'area': 400}
                | {'category_id': 1, 'iscrowd': crowd}
            )
    categories = [{'id': 1, 'name': 'zero'}, {'id': 2, 'name': 'one'}]
    content = {'images': images, 'annotations': annotations, 'categories': categories}
    (root / 'val.json').write_text(json.dumps(content))
    return CocoDataset(
        ann_file=str(root / 'val.json'),
        data_prefix={'img': str(root)},
        metainfo={'classes': ('zero', 'one')},
        test_mode=True,
        pipeline=[
            LoadImageFromFile(),
            # Loaded before the resizing, the true boxes are in the small image's pixels.
            LoadAnnotations(with_bbox=True),
            Resize(scale=(48, 48), keep_ratio=True),
            PackDetInputs(),
        ],
    )


def run(
    tmp_path: Path,
    metrics: list[dict[str, float]] | None = None,
    hooks: list[Hook] | None = None,
    model: PlainDetector | None = None,
    iters: int = 4,
    resume: bool = False,
    images: int = 3,
    **settings: Any,
) -> tuple[dict[str, Any], Runner, Messages]:
    """A real runner over a few iterations; its summary.json, itself and what it logged."""
    dataset = digits(tmp_path / 'data', images)
    validation = {
        'val_dataloader': DataLoader(dataset, sampler=DefaultSampler(dataset, shuffle=False)),
        'val_cfg': {'type': ScriptedLoop, 'metrics': metrics},
        'val_evaluator': {},
    }
    runner = Runner(
        model=model or Detector(),
        work_dir=str(tmp_path / 'run'),
        train_dataloader=DataLoader([{'inputs': 0}] * iters, collate_fn=lambda items: items[0]),
        train_cfg={'by_epoch': False, 'max_iters': iters, 'val_interval': 2},
        optim_wrapper={'optimizer': {'type': 'SGD', 'lr': 0.0}},
        default_hooks={
            'checkpoint': {'type': 'CheckpointHook', 'by_epoch': False, 'interval': 2},
            'logger': {'type': 'LoggerHook', 'interval': 1, 'log_metric_by_epoch': False},
        },
        custom_hooks=[SummaryHook(**settings), *(hooks or [])],
        log_processor={'by_epoch': False},
        randomness={'seed': 7},
        resume=resume,
        # Another message hub for a resumed run, so that it has nothing but the checkpoint.
        experiment_name=f'{tmp_path.name}_{resume}',
        **({} if metrics is None else validation),
    )
    messages = Messages()
    runner.logger.addHandler(messages)
    runner.train()
    return json.loads((tmp_path / 'run/summary.json').read_text()), runner, messages


@pytest.fixture
def no_curves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Curves take most of a second; the tests that are about them draw them."""
    monkeypatch.setattr(summary, 'plot_curves', lambda *_: None)


class Drawing(Hook):
    """Draws in each iteration, as a model does."""

    def __init__(self) -> None:
        self.drawn: list[float] = []

    def before_train_iter(self, *_: Any, **__: Any) -> None:
        self.drawn.append(torch.rand(1).item())


def scores(result: Mapping[str, Any]) -> tuple[Any, Any, Any]:
    return result['start_mAP'], result['student_mAP'], result['teacher_mAP']
