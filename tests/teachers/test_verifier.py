"""The verifier of classes in real runs: when it learns, from what, and who is told."""

import copy
import re
from collections import Counter
from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner

from ssod.models.class_verifier import ClassVerifier
from ssod.teachers import verifier as lesson


class Watch(Hook):
    """Keeps the strong views' regions and the verifier's weights of each iteration."""

    def __init__(self):
        self.regions, self.weights = [], []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        strong = data_batch['data_samples']['strong']
        self.regions.append([sample.regions for sample in strong])
        self.weights.append(runner.model.verifier.classifier.weight.clone())


@pytest.fixture
def cfg(digits_cfg):
    """The main example with a verifier, whose backbone is the detector's."""
    digits_cfg.model.update(
        consistency=dict(kind='kl', num_regions=20), verifier=dict(scale=1.0), pseudo_weight=1.0
    )
    return digits_cfg


@pytest.fixture
def fits(monkeypatch):
    """How many labelled views each fit of a verifier saw."""
    counts, fit = [], ClassVerifier.fit

    def counted(self, views, generator):
        views = list(views)
        counts.append(len(views))
        return fit(self, views, generator)

    monkeypatch.setattr(ClassVerifier, 'fit', counted)
    return counts


def train(cfg, **options):
    cfg = copy.deepcopy(cfg)
    cfg.merge_from_dict(options)
    runner, watch = Runner.from_cfg(cfg), Watch()
    runner.register_hook(watch, priority='LOWEST')
    runner.train()
    return runner, watch


def log_of(runner):
    """The lines of a run's log."""
    return Path(runner.log_dir, f'{runner.timestamp}.log').read_text().splitlines()


def test_it_learns_the_labelled_images_before_the_first_iteration(cfg, fits):
    runner, watch = train(cfg)
    assert fits == [2 * lesson.VIEWS]
    weights = runner.model.verifier.classifier.weight
    assert weights.abs().sum() > 0
    # No step changes it.
    assert all(torch.equal(before, weights) for before in watch.weights)
    # The classes of the regions are those that it tells.
    seen = set(torch.cat([r.labels for of_batch in watch.regions for r in of_batch]).tolist())
    known = set((runner.model.verifier.classifier.bias > -19).nonzero()[:, 0].tolist())
    assert seen
    assert seen <= known


def test_views_of_one_image_have_its_number(cfg, monkeypatch):
    """Or those of an image held out would be learnt, and what is told of them known by heart."""
    given = []
    monkeypatch.setattr(ClassVerifier, 'fit', lambda self, views, generator: given.extend(views))
    train(cfg, **{'train_cfg.max_iters': 1})
    views = Counter(view.image for view in given)
    assert list(views.values()) == [lesson.VIEWS] * 2


def test_the_jitter_of_boxes_depends_on_the_seed(cfg, monkeypatch):
    drawn = []

    def draw(self, views, generator):
        drawn.append(torch.rand(4, generator=generator).tolist())

    monkeypatch.setattr(ClassVerifier, 'fit', draw)
    for seed in (3, 3, 4):
        train(cfg, **{'train_cfg.max_iters': 1, 'randomness.seed': seed})
    assert drawn[0] == drawn[1] != drawn[2]


@pytest.mark.parametrize('num_workers', [0, 2])
def test_what_it_learns_depends_on_the_seed_alone(cfg, num_workers):
    loader = {
        'train_dataloader.num_workers': num_workers,
        'train_dataloader.persistent_workers': num_workers > 0,
    }
    first, again = (
        train(cfg, **options)[0].model.verifier.classifier.weight for options in ({}, loader)
    )
    assert torch.equal(first, again)


def test_it_says_how_far_it_is_and_does_not_go_on_for_ever(cfg, fits, monkeypatch):
    monkeypatch.setattr(lesson, 'SILENCE', 0.0)
    monkeypatch.setattr(lesson, 'ENOUGH_VIEWS', 5)
    runner, _ = train(cfg)
    assert fits == [5]
    told = [line for line in log_of(runner) if 'views' in line]
    assert re.search(r'verifier: 4 of 5 views done, 0:00:\d\d left$', told[-2])


@pytest.mark.parametrize('pretrained', [False, True])
def test_a_backbone_without_pretrained_weights_is_told(cfg, monkeypatch, pretrained):
    monkeypatch.setattr(ClassVerifier, 'fit', lambda self, views, generator: None)
    runner = Runner.from_cfg(cfg)
    runner.model.verifier.is_pretrained = pretrained
    runner.train()
    told = any('has no pretrained weights' in line for line in log_of(runner))
    assert told is not pretrained


def test_a_resumed_run_keeps_what_it_learnt(cfg, fits):
    whole, _ = train(cfg, **{'train_cfg.max_iters': 3})
    train(cfg, **{'train_cfg.max_iters': 2})
    resumed, _ = train(
        cfg, resume=True, load_from=f'{cfg.work_dir}/iter_2.pth', **{'train_cfg.max_iters': 3}
    )
    assert len(fits) == 2
    ours, theirs = resumed.model.state_dict(), whole.model.state_dict()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)


def test_a_run_that_starts_from_a_checkpoint_learns_anew(cfg, fits):
    first, _ = train(cfg)
    # Another seed draws other views.
    other, _ = train(cfg, load_from=f'{cfg.work_dir}/iter_2.pth', **{'randomness.seed': 7})
    assert len(fits) == 2
    ours, theirs = (run.model.verifier.classifier.weight for run in (other, first))
    assert not torch.equal(ours, theirs)


def test_other_data_than_sources_are_refused(cfg):
    cfg.train_dataloader.dataset.type = 'ConcatDataset'
    message = r'model\.verifier learns from .* ConcatDataset; set model\.'
    with pytest.raises(ValueError, match=message):
        train(cfg)


def test_labels_without_boxes_are_refused(cfg, monkeypatch):
    monkeypatch.setattr(lesson, '_views', lambda *_: iter(()))
    with pytest.raises(ValueError, match=r'model\.verifier: no labelled image has a box'):
        train(cfg)


def test_without_a_consistency_loss_it_has_nothing_to_say(cfg):
    cfg.model.consistency = None
    with pytest.raises(ValueError, match=r'model\.consistency is None; set one, or verifier=None'):
        train(cfg)


def test_an_unknown_setting_is_refused(cfg):
    cfg.model.verifier.scales = 2.0
    with pytest.raises(ValueError, match=r"ClassVerifier: .*'scales'; did you mean 'scale'"):
        train(cfg)
