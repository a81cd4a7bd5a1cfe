"""torchvision's classification networks as backbones: what is kept, frozen, copied, refused."""

import copy
import pickle
from collections.abc import Callable

import pytest
import torch
import torchvision
from mmdet.registry import MODELS
from torch import nn

from ssod.models.torchvision_backbone import TorchvisionBackbone

from .conftest import images, resnet


def test_maps_of_odd_sizes_are_rounded_up() -> None:
    sizes = [tuple(m.shape[2:]) for m in resnet()(torch.zeros(1, 3, 65, 100))]
    assert sizes == [(9, 13), (5, 7), (3, 4)]


def test_modules_keep_their_names_and_what_is_not_needed_is_gone() -> None:
    whole = torchvision.models.resnet18().state_dict()
    kept = resnet(out_strides=(8,)).state_dict()
    wanted = [k for k in whole if not k.startswith(('layer3.', 'layer4.', 'fc.'))]
    assert list(kept) == wanted


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


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        ({'arch': 'resnet51'}, "no classification network 'resnet51'; did you mean 'resnet50'"),
        ({'arch': '?'}, "no classification network '\\?'; use for example resnet50"),
        # Position embeddings of one image size, which shows while tracing.
        ({'arch': 'vit_b_32'}, r'vit_b_32 cannot be a backbone, .*\(Wrong image height.*resnet50'),
        ({'arch': 'squeezenet1_1'}, r'no feature map of stride 32; its strides are 2, 4, 8, 16$'),
        ({'out_strides': ()}, r'out_strides is \(\), but must ascend'),
        ({'out_strides': (16, 8)}, r'out_strides is \(16, 8\), but must ascend'),
        ({'frozen_stride': 3}, 'resnet18 has no feature map of stride 3'),
        ({'frozen_stride': 64}, 'frozen_stride is 64, but must be 0 or a stride up to .* 32'),
        ({'frozen_stride': -1}, 'frozen_stride is -1'),
        ({'weights': 'IMAGENET1K_V3'}, "no weights 'IMAGENET1K_V3'; use IMAGENET1K_V1, DEFAULT"),
        ({'out_stride': (8,)}, "unknown setting 'out_stride'; did you mean 'out_strides'"),
    ],
)
def test_refused_settings(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MODELS.build({'type': 'TorchvisionBackbone', 'arch': 'resnet18', **settings})
