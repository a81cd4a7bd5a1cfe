"""No figure of a training may come from labels that it must not see."""

import json

import numpy as np
import pytest
import torch
from mmengine.runner import Runner

from ssod.pseudo_labels import verdicts


def train(cfg, folder, truth):
    """Weights and logged figures of a training with some hidden truth."""
    cfg = cfg.copy()
    cfg.work_dir = str(folder)
    cfg.visualizer = {**cfg.visualizer, 'name': str(folder)}
    cfg.default_hooks = {**cfg.default_hooks}
    cfg.default_hooks['quality'] = {**cfg.default_hooks['quality'], 'ann_file': str(truth)}
    runner = Runner.from_cfg(cfg)
    runner.train()
    logged = {
        name: history.data[0].tolist()
        for name, history in runner.message_hub.log_scalars.items()
        if 'time' not in name
    }
    return runner.model.state_dict(), logged


@pytest.fixture
def cfg(digits_cfg):
    """The main example with a verifier of classes, which learns from labels, too."""
    consistency = dict(weight=0.1, kind='kl', num_regions=20)
    digits_cfg.model.update(consistency=consistency, verifier={})
    return digits_cfg


@pytest.fixture
def noise(digits, tmp_path):
    """The hidden truth with boxes and classes drawn at random."""
    truth = digits / 'annotations/unlabeled_truth.json'
    content = json.loads(truth.read_text())
    rng = np.random.default_rng(0)
    for annotation in content['annotations']:
        x, y, width, height = rng.uniform(1, 45, 4).round(1).tolist()
        annotation.update(bbox=[x, y, width, height], area=width * height)
        annotation['category_id'] = int(rng.integers(1, 11))
    path = tmp_path / 'noise.json'
    path.write_text(json.dumps(content))
    return truth, path


def test_the_hidden_truth_changes_no_number_of_the_training(cfg, noise, tmp_path, monkeypatch):
    truth, path = noise
    cfg.train_cfg.max_iters = 3
    # After three steps hardly a box is more than near to a true one.
    monkeypatch.setattr(verdicts, 'FOUND', verdicts.NEAR)
    weights, logged = train(cfg, tmp_path / 'truth', truth)
    others, other_logged = train(cfg, tmp_path / 'noise', path)
    assert [name for name, value in weights.items() if not torch.equal(value, others[name])] == []
    told = {name for name, values in logged.items() if values != other_logged[name]}
    # What is measured against it differs, or it would not have been read at all.
    assert told
    assert all('precision' in name or 'recall' in name for name in told), told


def test_the_unlabelled_file_itself_may_hold_anything(cfg, digits, noise, tmp_path):
    # Trap: mmdet's split leaves the annotations in the unlabelled file.
    weights, _ = train(cfg, tmp_path / 'none', noise[0])
    content = json.loads((digits / 'annotations/unlabeled.json').read_text())
    assert content['annotations'] == []
    cfg.train_dataloader.dataset.datasets[1].ann_file = str(noise[1])
    others, _ = train(cfg, tmp_path / 'noisy', noise[0])
    assert [name for name, value in weights.items() if not torch.equal(value, others[name])] == []
