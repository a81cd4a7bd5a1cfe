"""What the watch counts in each window, and what it remembers of those before."""

import copy
from types import SimpleNamespace

import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.logging import MessageHub
from mmengine.optim import OptimWrapper
from mmengine.structures import InstanceData
from torch import nn

from ssod.teachers import TeacherWatchHook, watch

WINDOW = 10
NAN = float('nan')


class Labeled:
    """One labelled image with two boxes."""

    def __init__(self):
        self.metainfo = {'classes': ('cat', 'dog')}

    def __len__(self):
        return 1

    def get_data_info(self, index):
        return {'instances': [{'bbox_label': 0}, {'bbox_label': 1}]}


class Run:
    """What the watch asks of a runner, around a model of one layer.

    Args:
        folder: Its work_dir.
        burn_in: Iterations before the teacher begins.
        accumulative_counts: Iterations of an optimizer step.
        limits: The watch's.
    """

    def __init__(self, folder, burn_in=0, accumulative_counts=1, **limits):
        student = nn.Linear(1, 1)
        optimizer = torch.optim.SGD(student.parameters(), lr=1e-6)
        self.optim_wrapper = OptimWrapper(optimizer, accumulative_counts=accumulative_counts)
        self.model = SimpleNamespace(
            student=student, teacher=copy.deepcopy(student), pseudo_weight=lambda step: 1.0
        )
        self.burn_in, self.iter, self.hooks, self.work_dir = burn_in, 0, [], str(folder)
        self.train_dataloader = SimpleNamespace(dataset=Labeled())
        self.message_hub = MessageHub(str(folder))
        self.warnings, self.figures = [], []
        self.logger = SimpleNamespace(warning=self._warn, info=lambda line: None)
        self.visualizer = SimpleNamespace(add_scalars=self._draw)
        self.watch = TeacherWatchHook(WINDOW, limits)
        self.watch.before_train(self)

    def _warn(self, line):
        self.warnings.append((self.iter + 1, line.split(': ')[0].removeprefix('watch, ')))

    def _draw(self, figures, step):
        self.figures.append(figures)

    def train(self, scores=(), sup_loss=1.0, pseudo_loss=1.0, iterations=WINDOW):
        """Iterations with one unlabelled image whose pseudo-boxes have these scores."""
        boxes = InstanceData(
            scores=torch.tensor(scores), labels=torch.arange(len(scores), dtype=torch.long) % 2
        )
        image = DetDataSample(gt_instances=boxes)
        for _ in range(iterations):
            self.model.step = self.iter - self.burn_in
            batch = {'data_samples': {'labeled': [], 'strong': [image]}}
            self.watch.before_train_iter(self, 0, batch)
            loss = (self.model.student(torch.ones(1)) * sup_loss).sum()
            self.optim_wrapper.update_params(loss)
            outputs = {
                'sup_loss': torch.tensor(sup_loss), 'pseudo_loss': torch.tensor(pseudo_loss)
            }  # fmt: skip
            self.watch.after_train_iter(self, 0, batch, outputs)
            self.iter += 1

    def measured(self, name):
        """A figure in each window."""
        return [found[f'watch/{name}'] for found in self.figures if f'watch/{name}' in found]


def test_each_window_is_counted_by_itself(tmp_path):
    # The teacher finds boxes in the first of three windows only. Over the whole run these would
    # be boxes on half and a third of the images, which are no alarm.
    run = Run(tmp_path)
    run.train([0.8, 0.9], sup_loss=2.0, pseudo_loss=6.0)
    assert run.warnings == []
    run.train(sup_loss=2.0, pseudo_loss=1.0)
    run.train(sup_loss=4.0, pseudo_loss=1.0)
    assert run.measured('images') == [1, 0, 0]
    assert run.measured('boxes') == [1, 0, 0]
    assert run.measured('pseudo_loss') == [3, 0.5, 0.25]
    assert run.warnings == [(20, 'images')]


def test_a_mean_score_is_compared_with_earlier_windows_alone(tmp_path):
    # Between the lowest score and 1 the mean lies at 0.8 and then at 0.35, which is below half of
    # 0.8, but not below half of the median of both.
    run = Run(tmp_path)
    run.train([0.5, 1.0, 1.0, 1.0, 1.0])
    run.train([0.5, 0.6, 0.6, 0.675, 1.0])
    assert run.measured('scores') == pytest.approx([0.9, 0.675])
    assert run.warnings == [(20, 'scores')]


def test_an_alarm_that_goes_on_is_said_again(tmp_path, monkeypatch):
    monkeypatch.setattr(watch, 'REMIND', 2)
    run = Run(tmp_path)
    run.train(iterations=5 * WINDOW)
    assert run.measured('images') == [0] * 5
    assert run.warnings == [(10, 'images'), (30, 'images'), (50, 'images')]


def test_losses_of_the_burn_in_are_not_those_of_a_window(tmp_path):
    run = Run(tmp_path, burn_in=7)
    run.train(sup_loss=1000.0, pseudo_loss=0.0, iterations=7)
    run.train([0.8, 0.9], sup_loss=1.0, pseudo_loss=3.0)
    assert run.measured('pseudo_loss') == [3]


def test_a_window_of_skipped_steps_has_as_many_steps_where_gradients_accumulate(tmp_path):
    # Two steps that are seven apart, which are fourteen iterations.
    run = Run(tmp_path, accumulative_counts=2, non_finite=2)
    run.train([0.8, 0.9], sup_loss=NAN, iterations=2)
    run.train([0.8, 0.9], iterations=12)
    with pytest.raises(ValueError, match='2 steps skipped in the last 20 iterations; '):
        run.train([0.8, 0.9], sup_loss=NAN, iterations=2)
