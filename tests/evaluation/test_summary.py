import json
import logging
import re
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
from mmdet.registry import HOOKS
from mmengine.dataset import DefaultSampler
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.runner import BaseLoop, Runner
from mmengine.structures import InstanceData
from PIL import Image
from torch.utils.data import DataLoader

from ssod.evaluation import summary
from ssod.evaluation.summary import SummaryHook
from ssod.seeds import SeedHook
from ssod.teachers.hook import TeacherHook
from ssod.visualization import detections
from ssod.visualization.curves import plot_curves, read_scalars

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

    def start(self, model: Any) -> None: ...

    def update_teacher(self, model: Any, teaching: bool) -> None: ...

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


@pytest.fixture(autouse=True)
def _no_curves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Curves take most of a second; the tests that are about them draw them."""
    monkeypatch.setattr(summary, 'plot_curves', lambda *_: None)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A clock that goes on by ten seconds each time that it is read."""

    class Clock:
        now = 1000.0

        def monotonic(self) -> float:
            self.now += 10
            return self.now

    monkeypatch.setattr(summary, 'time', Clock())


def test_figures_of_a_mean_teacher(tmp_path: Path) -> None:
    result, _, _ = run(tmp_path, [START, LAST], [Teaching(2)])
    assert result.pop('seconds') >= 0
    assert result == {
        'start_mAP': 27.7,
        'student_mAP': 40.1,
        'teacher_mAP': 42.7,
        'start_mAP50': 55.5,
        'student_mAP50': 70.0,
        'teacher_mAP50': 72.3,
        'iterations': 4,
        'seed': 7,
    }


@pytest.mark.parametrize(
    ('burn_in', 'metrics', 'expected', 'runs'),
    [
        # begins with the run, which is validated before its first iteration, and at 2 and 4
        (0, [START, {}, LAST], 27.7, 3),
        # begins where the run is validated anyway
        (2, [START, LAST], 27.7, 2),
        # begins between the validations at 2 and 4
        (3, [{}, START, LAST], 27.7, 3),
        # never begins
        (4, [START, LAST], None, 2),
    ],
)
def test_start_weights_are_scored_when_the_teacher_begins(
    tmp_path: Path,
    burn_in: int,
    metrics: list[dict[str, float]],
    expected: float | None,
    runs: int,
) -> None:
    model = Detector()
    result, runner, _ = run(tmp_path, metrics, [Teaching(burn_in)], model)
    assert result['start_mAP'] == expected
    assert runner.val_loop.runs == runs
    assert model.trained == [True] * 4  # a validation leaves the model in eval mode


class Drawing(Hook):
    """Draws in each iteration, as a model does."""

    def __init__(self) -> None:
        self.drawn: list[float] = []

    def before_train_iter(self, *_: Any, **__: Any) -> None:
        self.drawn.append(torch.rand(1).item())


def test_the_score_of_the_start_weights_changes_nothing_that_is_drawn(tmp_path: Path) -> None:
    drawn = []
    for burn_in in (0, 4):
        hook = Drawing()
        run(tmp_path / str(burn_in), [START], [SeedHook(), Teaching(burn_in), hook])
        drawn.append(hook.drawn)
    assert drawn[0] == drawn[1]
    assert len(set(drawn[0])) == 4


def test_table(tmp_path: Path) -> None:
    _, _, messages = run(tmp_path, [START, LAST], [Teaching(2)])
    assert [line for line in messages.lines if line.startswith('Summary')] == [
        f'Summary, also in {tmp_path}/run/summary.json:\n'
        '                 mAP   mAP50\n'
        'start weights   27.7    55.5\n'
        'student         40.1    70.0\n'
        'teacher         42.7    72.3'
    ]


def scores(result: Mapping[str, Any]) -> tuple[Any, Any, Any]:
    return result['start_mAP'], result['student_mAP'], result['teacher_mAP']


@pytest.mark.parametrize(
    ('start', 'last', 'burn_in', 'expected'),
    [
        # nothing was measured: the evaluator saw no detection at all
        ({}, {}, 2, (None, None, None)),
        # nothing was found at the start
        ({}, LAST, 2, (None, 40.1, 42.7)),
        # the teacher alone is scored
        (START, {'teacher/coco/bbox_mAP': 0.5}, 2, (27.7, None, 50.0)),
        # the student alone is scored
        ({'student/coco/bbox_mAP': 0.2}, {'student/coco/bbox_mAP': 0.5}, 2, (20.0, 50.0, None)),
        # burn-in as long as the run: the teacher is only the student's copy
        (START, LAST, 4, (None, 40.1, None)),
        # mmengine's own loop scores the one that predicts, here the teacher
        ({'coco/bbox_mAP': 0.25}, {'coco/bbox_mAP': 0.5}, 2, (25.0, None, 50.0)),
        # COCO's -1 (no true boxes) and NaN are no scores
        (
            {'teacher/coco/bbox_mAP': -1.0},
            {'student/coco/bbox_mAP': -1.0, 'teacher/coco/bbox_mAP': float('nan')},
            2,
            (None, None, None),
        ),
        # zero is one
        (
            {'teacher/coco/bbox_mAP': 0.0},
            {'student/coco/bbox_mAP': 0.0, 'teacher/coco/bbox_mAP': 1.0},
            2,
            (0.0, 0.0, 100.0),
        ),
    ],
)
def test_missing_scores(
    tmp_path: Path,
    start: dict[str, float],
    last: dict[str, float],
    burn_in: int,
    expected: tuple[Any, Any, Any],
) -> None:
    result, _, _ = run(tmp_path, [start, last], [Teaching(burn_in)])
    assert scores(result) == expected


def test_one_iteration_with_a_teacher_is_enough(tmp_path: Path) -> None:
    result, _, _ = run(tmp_path, [{}, START, LAST], [Teaching(3)])
    assert scores(result) == (27.7, 40.1, 42.7)


def test_table_marks_missing_scores(tmp_path: Path) -> None:
    _, _, messages = run(tmp_path, [{}], [Teaching(2)])
    table = next(line for line in messages.lines if line.startswith('Summary'))
    assert table.endswith('teacher            -       -')


def test_plain_detector_is_the_student(tmp_path: Path) -> None:
    result, _, _ = run(tmp_path, [{'coco/bbox_mAP': 0.5}], model=PlainDetector())
    assert scores(result) == (None, 50.0, None)
    assert (tmp_path / 'run/detections.png').exists()


def test_a_run_without_validation_still_has_its_seconds_and_curves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(summary, 'plot_curves', plot_curves)
    result, _, _ = run(tmp_path, None, [Teaching(2)])
    assert scores(result) == (None, None, None)
    assert result['iterations'] == 4
    assert (tmp_path / 'run/curves.png').exists()
    assert not (tmp_path / 'run/detections.png').exists()


def test_seconds(tmp_path: Path, clock: Any) -> None:
    # Read once at the start, after each of the 4 iterations, and at the end: 5 steps of 10 s.
    result, _, _ = run(tmp_path, [LAST])
    assert result['seconds'] == 50.0


def test_seconds_go_on_after_a_resumption(tmp_path: Path, clock: Any) -> None:
    # The first run's checkpoint of iteration 4 was written at 40 s; iterations 5 and 6 and the end
    # take 30 s more. The 10 s between that checkpoint and the first run's end are not counted.
    run(tmp_path, [START, LAST], [Teaching(2)], iters=4)
    later = {key: value + 0.1 for key, value in LAST.items()}
    result, _, _ = run(tmp_path, [later], [Teaching(2)], iters=6, resume=True)
    assert result['seconds'] == 70.0
    assert result['iterations'] == 6
    # The start's scores came with the checkpoint.
    assert scores(result) == (27.7, 50.1, 52.7)


@pytest.mark.parametrize(
    ('iters', 'runs'),
    [
        # Its checkpoint was written before the validation of its iteration.
        (2, 2),
        # Between two validations: the one at 4 is the next.
        (3, 1),
    ],
)
def test_a_resumed_run_lacks_no_validation(tmp_path: Path, iters: int, runs: int) -> None:
    drawn = []
    for part in ('whole', 'resumed'):
        hook, model = Drawing(), Detector()
        if part == 'resumed':
            run(tmp_path / part, [START], [SeedHook()], iters=iters)
        hooks = [SeedHook(), hook]
        _, runner, _ = run(tmp_path / part, [START], hooks, model, resume=part == 'resumed')
        drawn.append(hook.drawn)
        assert all(model.trained)
    assert runner.val_loop.runs == runs
    # It changes nothing that is drawn, and is not what a teacher begins with.
    assert drawn[1] == drawn[0][iters:]
    assert 'start_metrics' not in runner.message_hub.runtime_info


class SavedAnew(Hook):
    """Saves the last checkpoint once more after each validation, as mmengine does if it is best."""

    priority = 'VERY_LOW'

    def after_val_epoch(self, runner: Runner, metrics: Any = None) -> None:
        meta = {'epoch': 0, 'iter': runner.iter}
        runner.save_checkpoint(runner.work_dir, f'iter_{runner.iter}.pth', meta=meta)


def test_a_checkpoint_that_knows_its_validation_is_not_validated_anew(tmp_path: Path) -> None:
    run(tmp_path, [START], [SavedAnew(), Teaching(2)], iters=2)
    result, runner, _ = run(tmp_path, [LAST], [Teaching(2)], resume=True)
    assert runner.val_loop.runs == 1
    assert scores(result) == (27.7, 40.1, 42.7)


def test_resumed_at_its_end_a_run_is_validated_once_more(tmp_path: Path) -> None:
    run(tmp_path, [START, LAST], [Teaching(2)])
    (tmp_path / 'run/summary.json').unlink()
    result, runner, _ = run(tmp_path, [LAST], [Teaching(2)], resume=True)
    assert scores(result) == (27.7, 40.1, 42.7)
    assert runner.val_loop.runs == 1


class Leftover(Hook):
    """Runners of one name share a message hub within a process."""

    def before_run(self, runner: Runner) -> None:
        runner.message_hub.update_info('train_seconds', 500.0)


def test_a_new_run_does_not_inherit_seconds(tmp_path: Path, clock: Any) -> None:
    result, _, _ = run(tmp_path, [LAST], [Leftover()])
    assert result['seconds'] == 50.0


def test_summary_replaces_an_earlier_one_and_leaves_no_other_file(tmp_path: Path) -> None:
    (tmp_path / 'run').mkdir()
    (tmp_path / 'run/summary.json').write_text('{"torn')
    run(tmp_path, [LAST])
    assert [path.name for path in (tmp_path / 'run').glob('summary*')] == ['summary.json']


def test_curves_are_drawn_after_the_last_validation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    monkeypatch.setattr(summary, 'plot_curves', lambda folder, _: seen.append(read_scalars(folder)))
    run(tmp_path, [LAST])
    assert seen[0][-1]['teacher/coco/bbox_mAP'] == 0.427
    assert seen[0][-1]['step'] == 4


def test_figures_are_safe_when_a_picture_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise OSError('no space left')

    monkeypatch.setattr(summary, 'plot_curves', fail)
    with pytest.raises(OSError, match='no space left'):
        run(tmp_path, [LAST])
    assert (tmp_path / 'run/summary.json').exists()


def test_curves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(summary, 'plot_curves', plot_curves)
    run(tmp_path, [LAST])
    assert Image.open(tmp_path / 'run/curves.png').size == (1500, 1050)


@pytest.mark.parametrize(
    ('images', 'wanted', 'expected'),
    [
        (1, 8, ['0.png']),  # a single image
        (3, 8, ['0.png', '1.png', '2.png']),  # fewer than wanted: each once
        (5, 3, ['0.png', '2.png', '4.png']),  # spread from the first to the last
    ],
)
def test_pictures_are_spread_over_the_set(
    tmp_path: Path, images: int, wanted: int, expected: list[str]
) -> None:
    model = Detector()
    run(tmp_path, [LAST], [Teaching(2)], model, images=images, num_images=wanted)
    assert model.asked == [('teacher', False, name) for name in expected]


class BackToTraining(Hook):
    """Ends each validation in train mode, as mmengine's loops do not."""

    def after_val_epoch(self, runner: Runner, metrics: Any = None) -> None:
        runner.model.train()


def test_pictures_leave_the_model_as_it_was(tmp_path: Path) -> None:
    model = Detector()
    model.predict_on = 'student'
    run(tmp_path, [LAST], [Teaching(2), BackToTraining()], model)
    assert model.asked[0] == ('teacher', False, '0.png')
    assert model.training
    assert model.predict_on == 'student'


def sheet(tmp_path: Path, box: tuple[int, int, int, int], colour: tuple[int, int, int]) -> bool:
    """Whether the left side of a box of the first image has this colour, all along its middle."""
    image = np.asarray(Image.open(tmp_path / 'run/detections.png').convert('RGB'))
    x, top, _, bottom = (4 * v for v in box)
    side = image[36 + top + 20 : 36 + bottom - 20, 12 + x]
    return bool((side == colour).all())


TRUE_BOX = (30, 40, 50, 60)


def test_picture_shows_the_teacher_and_the_truth(tmp_path: Path) -> None:
    run(tmp_path, [LAST], [Teaching(2)])
    assert sheet(tmp_path, (8, 8, 40, 40), detections.DETECTION)
    assert not sheet(tmp_path, (56, 56, 88, 88), detections.DETECTION)
    assert sheet(tmp_path, TRUE_BOX, detections.TRUTH)
    assert not sheet(tmp_path, (5, 70, 25, 90), detections.TRUTH)  # a crowd is no box to be found


def test_picture_shows_the_student_where_there_is_no_teacher(tmp_path: Path) -> None:
    run(tmp_path, [LAST], [Teaching(4)])
    assert sheet(tmp_path, (56, 56, 88, 88), detections.DETECTION)
    assert not sheet(tmp_path, (8, 8, 40, 40), detections.DETECTION)


def test_picture_keeps_to_the_threshold(tmp_path: Path) -> None:
    run(tmp_path, [LAST], [Teaching(2)], score_thr=0.81)
    assert not sheet(tmp_path, (8, 8, 40, 40), detections.DETECTION)
    assert sheet(tmp_path, TRUE_BOX, detections.TRUTH)


def test_only_the_main_process_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(summary, 'is_main_process', lambda: False)
    monkeypatch.setattr(summary, 'plot_curves', plot_curves)
    with pytest.raises(FileNotFoundError, match=re.escape('summary.json')):
        run(tmp_path, [LAST])
    written = {path.name for path in (tmp_path / 'run').iterdir()}
    assert not written & {'summary.json', 'curves.png', 'detections.png'}


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        ({'num_images': 0}, 'num_images is 0, but must be at least 1'),
        ({'score_thr': 1.5}, r'score_thr is 1.5, but must be in \[0, 1\]'),
        ({'num_image': 4}, "unknown setting 'num_image'; did you mean 'num_images'"),
    ],
)
def test_refuses(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        HOOKS.build({'type': 'mmdet.SummaryHook', **settings})
