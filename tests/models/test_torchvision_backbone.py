"""Tests of torchvision's classification networks as backbones."""

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from urllib.error import URLError

import pytest
import torch
import torchvision
from mmdet.registry import MODELS
from torch import Tensor, nn

from ssod.models import torchvision_maps
from ssod.models.torchvision_backbone import TorchvisionBackbone

Read = Callable[[Tensor], Tensor]


def as_it_is(x: Tensor) -> Tensor:
    return x


def channels_first(x: Tensor) -> Tensor:
    return x.permute(0, 3, 1, 2)


def rectified(x: Tensor) -> Tensor:
    return x.relu()


# The smallest network of each family; for each stride the module whose output the map must equal.
FAMILIES: list[tuple[str, dict[int, tuple[str, int, Read]]]] = [
    # The end of each stage, not the first convolution of the next one, which has the same stride.
    (
        'resnet18',
        {
            4: ('layer1', 64, as_it_is),
            8: ('layer2', 128, as_it_is),
            16: ('layer3', 256, as_it_is),
            32: ('layer4', 512, as_it_is),
        },
    ),
    # As above with bottlenecks, whose first convolution is not strided.
    ('resnext50_32x4d', {8: ('layer2', 512, as_it_is), 16: ('layer3', 1024, as_it_is)}),
    # The narrow end of a block, not the wide inside of the next; at the end the last layer.
    (
        'mobilenet_v2',
        {
            8: ('features.6', 32, as_it_is),
            16: ('features.13', 96, as_it_is),
            32: ('features.18', 1280, as_it_is),
        },
    ),
    # Squeeze and excitation multiplies by a 1 x 1 map, which is none of any stride.
    (
        'mobilenet_v3_small',
        {
            8: ('features.3', 24, as_it_is),
            16: ('features.8', 48, as_it_is),
            32: ('features.12', 576, as_it_is),
        },
    ),
    (
        'efficientnet_b0',
        {
            8: ('features.3', 40, as_it_is),
            16: ('features.5', 112, as_it_is),
            32: ('features.8', 1280, as_it_is),
        },
    ),
    ('efficientnet_v2_s', {8: ('features.3', 64, as_it_is), 16: ('features.5', 160, as_it_is)}),
    # Parameters used outside of any layer (layer_scale).
    (
        'convnext_tiny',
        {
            4: ('features.1', 96, as_it_is),
            8: ('features.3', 192, as_it_is),
            16: ('features.5', 384, as_it_is),
            32: ('features.7', 768, as_it_is),
        },
    ),
    (
        'regnet_x_400mf',
        {
            8: ('trunk_output.block2', 64, as_it_is),
            16: ('trunk_output.block3', 160, as_it_is),
            32: ('trunk_output.block4', 400, as_it_is),
        },
    ),
    (
        'shufflenet_v2_x0_5',
        {
            8: ('stage2', 48, as_it_is),
            16: ('stage3', 96, as_it_is),
            32: ('conv5', 1024, as_it_is),
        },
    ),
    # Ends with a function that is no module.
    (
        'densenet121',
        {
            8: ('features.denseblock2', 512, as_it_is),
            16: ('features.denseblock3', 1024, as_it_is),
            32: ('features', 1024, rectified),
        },
    ),
    (
        'mnasnet0_5',
        {
            8: ('layers.9', 24, as_it_is),
            16: ('layers.11', 48, as_it_is),
            32: ('layers.16', 1280, as_it_is),
        },
    ),
    # One flat row of layers.
    ('vgg11', {8: ('features.14', 512, as_it_is), 16: ('features.19', 512, as_it_is)}),
    # Convolutions without padding: maps are smaller than size / stride. A classifier of maps.
    (
        'squeezenet1_1',
        {
            4: ('features.4', 128, as_it_is),
            8: ('features.7', 256, as_it_is),
            16: ('features.12', 512, as_it_is),
        },
    ),
    # Channels last, but for the end.
    (
        'swin_t',
        {
            4: ('features.1', 96, channels_first),
            8: ('features.3', 192, channels_first),
            16: ('features.5', 384, channels_first),
            32: ('permute', 768, as_it_is),
        },
    ),
    # Auxiliary classifiers in train mode alone, and inputs transformed by functions.
    (
        'googlenet',
        {
            8: ('inception3b', 480, as_it_is),
            16: ('inception4e', 832, as_it_is),
            32: ('inception5b', 1024, as_it_is),
        },
    ),
]


def resnet(**settings: object) -> TorchvisionBackbone:
    return TorchvisionBackbone('resnet18', **settings)


def whole_network(backbone: TorchvisionBackbone) -> nn.Module:
    """torchvision's own network with the backbone's weights, and anything in its classifier."""
    network = copy.deepcopy(torchvision_maps._skeleton(backbone.arch)).to_empty(device='cpu')
    state = network.state_dict()
    for key, value in backbone.state_dict().items():
        state[key].copy_(value)
    return network.eval()


def images(seed: int = 0, batch: int = 2) -> Tensor:
    return torch.rand(batch, 3, 64, 96, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(('arch', 'expected'), FAMILIES, ids=[row[0] for row in FAMILIES])
def test_maps_equal_the_outputs_of_the_whole_network(
    arch: str, expected: dict[int, tuple[str, int, Read]]
) -> None:
    backbone = TorchvisionBackbone(arch, out_strides=list(expected)).eval()
    network = whole_network(backbone)
    seen = {}
    for stride, (name, _, _) in expected.items():

        def keep(module: nn.Module, given: object, out: Tensor, stride: int = stride) -> None:
            seen[stride] = out.clone()

        network.get_submodule(name).register_forward_hook(keep)

    with torch.no_grad():
        network(images())
        maps = backbone(images())

    assert backbone.out_channels == tuple(channels for _, channels, _ in expected.values())
    for (stride, (_, channels, read)), found in zip(expected.items(), maps, strict=True):
        torch.testing.assert_close(found, read(seen[stride]))
        assert found.shape[:2] == (2, channels)


@pytest.mark.parametrize('arch', [row[0] for row in FAMILIES])
def test_every_parameter_takes_part_in_training(arch: str) -> None:
    # Up to stride 16 only: what is behind must be gone, as the classifier is.
    backbone = TorchvisionBackbone(arch, out_strides=(8, 16)).train()
    sum(m.square().sum() for m in backbone(images())).backward()
    assert [name for name, p in backbone.named_parameters() if p.grad is None] == []


def test_maps_of_odd_sizes_are_rounded_up() -> None:
    sizes = [tuple(m.shape[2:]) for m in resnet()(torch.zeros(1, 3, 65, 100))]
    assert sizes == [(9, 13), (5, 7), (3, 4)]


def test_modules_keep_their_names_and_what_is_not_needed_is_gone() -> None:
    whole = torchvision.models.resnet18().state_dict()
    kept = resnet(out_strides=(8,)).state_dict()
    wanted = [k for k in whole if not k.startswith(('layer3.', 'layer4.', 'fc.'))]
    assert list(kept) == wanted


def test_tracing_leaves_the_random_state_alone() -> None:
    # The teacher's build finds everything traced, the student's does not; both must be the same.
    # RegNet is the one family that is built with numbers even for tracing.
    for cached in ('_skeleton', 'feature_maps', 'map_program'):
        getattr(torchvision_maps, cached).cache_clear()
    torch.manual_seed(7)
    first = TorchvisionBackbone('regnet_x_400mf').state_dict()
    torch.manual_seed(7)
    second = TorchvisionBackbone('regnet_x_400mf').state_dict()
    assert all(torch.equal(first[key], second[key]) for key in second)


class Dropping(nn.Module):
    """A network that drops everything in train mode, by a function that must be told the mode."""

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.dropout(nn.functional.max_pool2d(x, 2), 1.0, self.training)


def test_functions_know_train_mode_from_eval_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torchvision_maps, 'build_network', lambda arch: Dropping())
    program = torchvision_maps.map_program('dropping', (2,))
    network = Dropping()
    assert program(network.train(), images())[0].sum() == 0
    assert program(network.eval(), images())[0].sum() > 0


class Windows(nn.Module):
    """A network with windows for one image size, as MaxViT has, which is slow to trace."""

    def forward(self, x: Tensor) -> Tensor:
        return x.reshape(1, 3, 7, 32, 7, 32)


def test_networks_for_one_image_size_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torchvision_maps, 'build_network', lambda arch: Windows())
    with pytest.raises(ValueError, match=r'^windows cannot be a backbone, .*\(shape .*resnet50'):
        torchvision_maps.feature_maps('windows')


# The frozen layers, and how many parameters they have.
@pytest.mark.parametrize(
    ('stride', 'frozen', 'number'),
    [
        (0, (), 0),
        (2, ('conv1', 'bn1'), 3),
        (4, ('conv1', 'bn1', 'layer1'), 15),
        (8, ('conv1', 'bn1', 'layer1', 'layer2'), 30),
    ],
)
def test_frozen_up_to_and_including_a_stride(
    stride: int, frozen: tuple[str, ...], number: int
) -> None:
    backbone = resnet(frozen_stride=stride)
    still = [name for name, p in backbone.named_parameters() if not p.requires_grad]
    assert len(still) == number
    assert {name.split('.')[0] for name in still} == set(frozen)

    # train() must not wake the frozen norms, and must wake the others after eval().
    backbone.eval()
    backbone.train()
    for name, module in backbone.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.training != (name.split('.')[0] in frozen), name


def test_frozen_parameters_outside_of_layers() -> None:
    # ConvNeXt's layer_scale belongs to its block, and the block's module to no layer.
    backbone = TorchvisionBackbone('convnext_tiny', out_strides=(4, 8), frozen_stride=4)
    scales = {k: p.requires_grad for k, p in backbone.named_parameters() if 'layer_scale' in k}
    assert not scales['features.1.2.layer_scale']
    assert scales['features.3.0.layer_scale']


@pytest.mark.parametrize('norm_eval', [False, True])
def test_norm_eval_keeps_the_statistics(norm_eval: bool) -> None:
    backbone = resnet(norm_eval=norm_eval).train()
    backbone(images())
    assert int(backbone.bn1.num_batches_tracked) == (0 if norm_eval else 1)
    assert backbone.training


@pytest.mark.parametrize('clone', [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_copies_compute_the_same_and_have_their_own_weights(
    clone: Callable[[TorchvisionBackbone], TorchvisionBackbone],
) -> None:
    backbone = TorchvisionBackbone('swin_t', out_strides=(4, 32), frozen_stride=4).eval()
    twin = clone(backbone)
    with torch.no_grad():
        for found, expected in zip(twin(images()), backbone(images()), strict=True):
            assert torch.equal(found, expected)
        twin.features[0][0].weight.zero_()
    assert backbone.features[0][0].weight.abs().sum() > 0


@pytest.mark.parametrize('clone', [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_copies_still_know_train_mode_from_eval_mode(
    clone: Callable[[TorchvisionBackbone], TorchvisionBackbone],
) -> None:
    twin = clone(resnet().eval())
    twin(images())
    assert int(twin.bn1.num_batches_tracked) == 0
    twin.train()
    twin(images())
    assert int(twin.bn1.num_batches_tracked) == 1


def test_replaced_modules_are_used() -> None:
    # As done for SyncBatchNorm, or for adapters.
    backbone = nn.SyncBatchNorm.convert_sync_batchnorm(resnet()).eval()
    assert isinstance(backbone.bn1, nn.SyncBatchNorm)
    before = backbone(images())[0]
    backbone.bn1.weight.data.mul_(2)
    assert not torch.equal(backbone(images())[0], before)


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
        ('resnext50_32x4d', r'layer1\.0\.conv1\.weight is \(128, 64, 1, 1\) and not \(64, 64, 3'),
        # Everything that is needed is there, but there is more: the deeper network of two.
        ('resnet34', r'layer1\.2\.conv1\.weight is not of this network'),
    ]
    for arch, message in tests:
        save(file, arch)
        with pytest.raises(ValueError, match=rf'weights\.pth does not hold weights .*{message}'):
            resnet(weights=str(file)).init_weights()


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (b'<html>404</html>', 'cannot be read as weights'),  # A download gone wrong.
        (b'', 'cannot be read as weights'),
        ({'epoch': 3}, 'is no state dict'),
        ([1, 2], 'is no state dict'),
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
        f'(<urlopen error no network>): put the file at {file} and run again'
    )


def test_a_missing_file_is_named() -> None:
    with pytest.raises(FileNotFoundError, match=r'weights nowhere/w\.pth: the file does not exist'):
        resnet(weights='nowhere/w.pth').init_weights()


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        ({'arch': 'resnet51'}, "no classification network 'resnet51'; did you mean 'resnet50'"),
        ({'arch': '?'}, "no classification network '\\?'; take for example resnet50"),
        # Position embeddings of one image size, which shows while tracing.
        ({'arch': 'vit_b_32'}, r'vit_b_32 cannot be a backbone, .*\(Wrong image height.*resnet50'),
        ({'arch': 'squeezenet1_1'}, r'no feature map of stride 32; it has those of 2, 4, 8, 16$'),
        ({'out_strides': ()}, r'out_strides is \(\), but must ascend'),
        ({'out_strides': (16, 8)}, r'out_strides is \(16, 8\), but must ascend'),
        ({'frozen_stride': 3}, 'resnet18 has no feature map of stride 3'),
        ({'frozen_stride': 64}, 'frozen_stride is 64, but must be 0 or a stride up to .* 32'),
        ({'frozen_stride': -1}, 'frozen_stride is -1'),
        ({'weights': 'IMAGENET1K_V3'}, "no weights 'IMAGENET1K_V3'; known: IMAGENET1K_V1, DEFAULT"),
        ({'out_stride': (8,)}, "unknown setting 'out_stride'; did you mean 'out_strides'"),
    ],
)
def test_refused_settings(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MODELS.build({'type': 'TorchvisionBackbone', 'arch': 'resnet18', **settings})
