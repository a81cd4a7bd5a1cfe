"""Weights of torchvision's networks as backbones: local files, PyTorch's cache, wrong ones."""

from pathlib import Path
from urllib.error import URLError

import pytest
import torch
import torchvision
from torch import Tensor

from ssod.models.torchvision_backbone import TorchvisionBackbone

from .conftest import resnet


def save(path: Path, arch: str = 'resnet18', **changes: Tensor | None) -> dict[str, Tensor]:
    """Write a torchvision file, some tensors replaced or (None) left out."""
    torch.manual_seed(3)
    state = dict(torchvision.models.get_model(arch, weights=None).state_dict())
    for key, value in changes.items():
        if value is None:
            del state[key]
        else:
            state[key] = value
    torch.save(state, path)
    return state


def test_weights_of_a_local_file(tmp_path: Path) -> None:
    # A classifier for other classes and an old file without counters must not disturb.
    file = tmp_path / 'weights.pth'
    state = save(file, **{'fc.weight': torch.zeros(3, 512), 'bn1.num_batches_tracked': None})
    backbone = resnet(weights=str(file))
    assert not torch.equal(backbone.conv1.weight, state['conv1.weight'])
    backbone.init_weights()
    for key, value in backbone.state_dict().items():
        assert key == 'bn1.num_batches_tracked' or torch.equal(value, state[key]), key


def test_weights_of_a_file_without_classifier(tmp_path: Path) -> None:
    file = tmp_path / 'weights.pth'
    state = save(file, **{'fc.weight': None, 'fc.bias': None})
    backbone = resnet(weights=str(file))
    backbone.init_weights()
    assert torch.equal(backbone.layer4[1].conv2.weight, state['layer4.1.conv2.weight'])


def test_weights_with_the_old_names_of_densenet(tmp_path: Path) -> None:
    file = tmp_path / 'weights.pth'
    state = dict(torchvision.models.densenet121().state_dict())
    new = 'features.denseblock1.denselayer1.norm1.weight'
    value = torch.full_like(state.pop(new), 5)
    torch.save({**state, 'features.denseblock1.denselayer1.norm.1.weight': value}, file)
    backbone = TorchvisionBackbone('densenet121', str(file), (4,))
    backbone.init_weights()
    assert torch.equal(backbone.get_parameter(new), value)


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    file = tmp_path / 'weights.pth'
    tests = [
        # Another kind of network: the first name is missing.
        ('mobilenet_v2', r'of resnet18: conv1\.weight is missing'),
        # The same names, other shapes.
        (
            'resnext50_32x4d',
            r'layer1\.0\.conv1\.weight is \(128, 64, 1, 1\), but must be \(64, 64, 3',
        ),
        # Everything that is needed is there, but there is more: the deeper network of two.
        ('resnet34', r'layer1\.2\.conv1\.weight is not part of this network'),
    ]
    for arch, message in tests:
        save(file, arch)
        with pytest.raises(ValueError, match=rf'weights\.pth does not hold weights .*{message}'):
            resnet(weights=str(file)).init_weights()


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (b'<html>404</html>', 'is damaged'),  # A download gone wrong.
        (b'', 'is damaged'),
        (b'PK\x03\x04 and then something else', 'is damaged'),  # What begins like a checkpoint.
        ({'epoch': 3}, 'is not a state dict'),
        ([1, 2], 'is not one, but a list'),
    ],
)
def test_files_without_weights_are_refused(tmp_path: Path, content: object, message: str) -> None:
    file = tmp_path / 'weights.pth'
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        torch.save(content, file)
    with pytest.raises(ValueError, match=rf'weights\.pth {message}'):
        resnet(weights=str(file)).init_weights()


def test_weights_by_name_come_from_pytorchs_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('TORCH_HOME', str(tmp_path))
    monkeypatch.setattr(torch.hub, 'download_url_to_file', lambda *a, **k: pytest.fail('download'))
    folder = tmp_path / 'hub' / 'checkpoints'
    folder.mkdir(parents=True)
    state = save(folder / 'resnet18-f37072fd.pth')
    for name in ('DEFAULT', 'IMAGENET1K_V1'):
        backbone = resnet(weights=name)
        backbone.init_weights()
        assert torch.equal(backbone.conv1.weight, state['conv1.weight'])


def test_weights_that_cannot_be_downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object, **settings: object) -> None:
        raise URLError('no network')

    monkeypatch.setenv('TORCH_HOME', str(tmp_path))
    monkeypatch.setattr(torch.hub, 'download_url_to_file', fail)
    # Building needs no weights: a checkpoint is tested where there are none.
    backbone = resnet(weights='IMAGENET1K_V1')
    with pytest.raises(ConnectionError) as caught:
        backbone.init_weights()
    file = tmp_path / 'hub' / 'checkpoints' / 'resnet18-f37072fd.pth'
    assert str(caught.value) == (
        'cannot download https://download.pytorch.org/models/resnet18-f37072fd.pth '
        f'(<urlopen error no network>): put the file at {file} and run again, or name it with '
        f'--cfg-options model.detector.backbone.weights=FILE'
    )


def test_a_missing_file_is_named() -> None:
    with pytest.raises(FileNotFoundError, match=r'weights nowhere/w\.pth: the file does not exist'):
        resnet(weights='nowhere/w.pth').init_weights()
