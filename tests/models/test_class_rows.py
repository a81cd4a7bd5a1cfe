"""Tests of taking over a detector's checkpoint when the classes are others."""

from typing import Any

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.hub import get_config
from torch import Tensor

from ssod.config_parts import set_number_of_classes
from ssod.models.class_rows import adapt_detector_checkpoint

CATS = ('cat', 'dog')
BIRDS = ('dog', 'bird', 'Cat')


def rows(*values: float) -> Tensor:
    """A tensor with one number in each row."""
    return torch.tensor([[float(value)] for value in values])


def adapt(
    source: dict[str, Tensor],
    model: dict[str, Tensor],
    source_classes: tuple[str, ...] | None = CATS,
    target_classes: tuple[str, ...] | None = BIRDS,
) -> tuple[dict[str, Any], list[str]]:
    adapted, messages = adapt_detector_checkpoint(source, model, source_classes, target_classes)
    return {key: value.flatten().tolist() for key, value in adapted.items()}, messages


def test_equal_classes_are_taken_over_without_a_word() -> None:
    source = {'backbone.w': rows(1, 2), 'bbox_head.fc_cls.weight': rows(1, 2, 9)}
    model = {'backbone.w': rows(0, 0), 'bbox_head.fc_cls.weight': rows(0, 0, 0)}
    # As many, the same names; upper and lower case; nothing known at all.
    for names in (CATS, ('CAT', 'Dog'), None):
        adapted, messages = adapt_detector_checkpoint(source, model, CATS, names)
        assert messages == []
        assert all(adapted[key] is source[key] for key in source)


# Cat is 1 (and 11, ...), dog 2, background 9 in the checkpoint; what is above 50 is the model's.
HEADS = [
    # Sigmoid head: one row for each class.
    ('bbox_head.conv_cls.weight', (1, 2), (50, 60, 70), [2, 60, 1]),
    # Softmax head: the background comes last.
    ('roi_head.bbox_head.fc_cls.weight', (1, 2, 9), (50, 60, 70, 80), [2, 60, 1, 9]),
    # Four rows for each class, which lie together.
    (
        'roi_head.bbox_head.fc_reg.weight',
        (1, 11, 21, 31, 2, 12, 22, 32),
        tuple(range(50, 62)),
        [2, 12, 22, 32, 54, 55, 56, 57, 1, 11, 21, 31],
    ),
    # Four anchors: as many rows, but a class's rows lie apart.
    (
        'bbox_head.retina_cls.weight',
        (1, 2, 11, 12, 21, 22, 31, 32),
        tuple(range(50, 62)),
        [2, 51, 1, 12, 54, 11, 22, 57, 21, 32, 60, 31],
    ),
    # Two anchors with a softmax each (SSD).
    (
        'bbox_head.cls_convs.0.0.weight',
        (1, 2, 9, 11, 12, 19),
        tuple(range(50, 58)),
        [2, 51, 1, 9, 12, 55, 11, 19],
    ),
    # A head of a name that nobody knows: shapes are enough where the numbers of classes differ.
    ('my_head.what.weight', (1, 2), (50, 60, 70), [2, 60, 1]),
]


@pytest.mark.parametrize(('key', 'theirs', 'mine', 'expected'), HEADS)
def test_rows_follow_the_names_of_classes(
    key: str, theirs: tuple[float, ...], mine: tuple[float, ...], expected: list[float]
) -> None:
    adapted, messages = adapt({key: rows(*theirs)}, {key: rows(*mine)})
    assert adapted == {key: expected}
    assert messages == [
        'class head adapted: 2 of 3 classes found in the checkpoint (dog, Cat), 1 new'
    ]


def test_fewer_classes_and_none_in_common() -> None:
    key = 'bbox_head.fc_cls.bias'
    source, model = {key: torch.tensor([1.0, 2, 3, 9])}, {key: torch.tensor([50.0, 60])}
    # Rows of what is not wanted are left behind.
    adapted, messages = adapt(source, model, ('cat', 'dog', 'cow'), ('cow',))
    assert adapted == {key: [3, 9]}
    assert messages == ['class head adapted: 1 of 1 classes found in the checkpoint (cow)']
    # Only the background is common.
    adapted, messages = adapt(source, model, ('cat', 'dog', 'cow'), ('digit',))
    assert adapted == {key: [50, 9]}
    assert messages == ['class head adapted: 0 of 1 classes found in the checkpoint, 1 new']


# As many classes with other names or in another order: the checkpoint has 1, 2, ... in its rows.
REORDERED = [
    ('bbox_head.conv_cls.weight', (1, 2), (50, 60), [2, 60]),
    ('roi_head.bbox_head.0.fc_cls.weight', (1, 2, 9), (50, 60, 70), [2, 60, 9]),
    (
        'roi_head.bbox_head.fc_reg.bias',
        (1, 11, 21, 31, 2, 12, 22, 32),
        tuple(range(50, 58)),
        [2, 12, 22, 32, 54, 55, 56, 57],
    ),
    # Two anchors: 4 rows are no multiple of 2 + 1.
    ('bbox_head.retina_cls.weight', (1, 2, 11, 12), (50, 60, 70, 80), [2, 60, 12, 80]),
    ('bbox_head.multi_level_conv_cls.2.bias', (1, 2), (50, 60), [2, 60]),
    ('bbox_head.heatmap_head.2.bias', (1, 2), (50, 60), [2, 60]),
    ('bbox_head.center_prior.mean', (1, 2), (50, 60), [2, 60]),
    # Boxes of all classes together; the RPN's objects; hidden layers, even of fitting size.
    ('roi_head.bbox_head.fc_reg.weight', (1, 2, 3, 4), (0, 0, 0, 0), [1, 2, 3, 4]),
    ('rpn_head.rpn_cls.weight', (1, 2), (0, 0), [1, 2]),
    ('bbox_head.cls_convs.0.conv.weight', (1, 2), (0, 0), [1, 2]),
    ('bbox_head.retina_reg.weight', (1, 2, 3, 4), (0, 0, 0, 0), [1, 2, 3, 4]),
    # Two anchors, four numbers each, and by chance as many rows as four for each class.
    ('bbox_head.retina_reg.weight', tuple(range(8)), (0,) * 8, list(range(8))),
    ('bbox_head.multi_level_conv_reg.0.bias', tuple(range(8)), (0,) * 8, list(range(8))),
    ('backbone.conv1.weight', (1, 2), (0, 0), [1, 2]),
    ('bbox_head.heatmap_head.0.weight', (1, 2), (0, 0), [1, 2]),
    # One mask for all classes.
    ('roi_head.mask_head.conv_logits.weight', (1,), (0,), [1]),
]


@pytest.mark.parametrize(('key', 'theirs', 'mine', 'expected'), REORDERED)
def test_as_many_classes_with_other_names(
    key: str, theirs: tuple[float, ...], mine: tuple[float, ...], expected: list[float]
) -> None:
    adapted, messages = adapt({key: rows(*theirs)}, {key: rows(*mine)}, CATS, ('dog', 'bird'))
    assert adapted == {key: expected}
    moved = expected != list(theirs)
    assert messages == [
        'class head adapted: 1 of 2 classes found in the checkpoint (dog), 1 new'
        if moved
        else '1 of 2 classes found in the checkpoint, but no class head: '
        'every tensor is loaded as it is'
    ]


WITH_CLASSES = [
    'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco',
    'mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco',
    'mmdet::cascade_rcnn/cascade-rcnn_r50_fpn_1x_coco',
    'mmdet::ssd/ssd300_coco',
    'mmdet::fcos/fcos_r50-caffe_fpn_gn-head_1x_coco',
    'mmdet::autoassign/autoassign_r50-caffe_fpn_1x_coco',
    'mmdet::reppoints/reppoints-moment_r50_fpn_1x_coco',
    'mmdet::rtmdet/rtmdet_tiny_8xb32-300e_coco',
    'mmdet::yolox/yolox_tiny_8xb8-300e_coco',
    'mmdet::centernet/centernet_r18_8xb16-crop512-140e_coco',
    'mmdet::cornernet/cornernet_hourglass104_10xb5-crop511-210e-mstest_coco',
    'mmdet::detr/detr_r50_8xb2-150e_coco',
    'mmdet::dino/dino-4scale_r50_8xb2-12e_coco',
    'mmdet::ddq/ddq-detr-4scale_r50_8xb2-12e_coco',
    'configs/consistentteacher_retinanet_digits10pct',
    'configs/mt_twoheads_fasterrcnn_digits10pct',
]


@pytest.mark.parametrize('name', WITH_CLASSES)
def test_layers_with_rows_of_classes_are_known(name: str) -> None:
    """Rows follow the names in all tensors whose shape changes with the number of classes."""
    shapes = [tensor_shapes(name, classes) for classes in (7, 11)]
    layers = [key for key, shape in shapes[0].items() if shapes[1][key] != shape]
    assert layers
    source = {key: torch.arange(shapes[0][key].numel()).view(shapes[0][key]) for key in layers}
    model = {key: torch.full_like(value, -1) for key, value in source.items()}
    names = tuple('abcdefg')
    adapted, _ = adapt_detector_checkpoint(source, model, names, names[::-1])
    for key, value in adapted.items():
        # The class in the middle of seven stays where it is, the others do not.
        assert value.shape == source[key].shape
        assert not torch.equal(value, source[key]), key
        assert (value >= 0).all()


def tensor_shapes(name: str, classes: int) -> dict[str, torch.Size]:
    """The shapes of a detector's parameters and buffers, without making them."""
    if name.startswith('mmdet::'):
        detector = get_config(f'{name}.py').model
    else:
        detector = Config.fromfile(f'{name}.py').model.detector
    set_number_of_classes(detector, classes)
    with torch.device('meta'):
        return {key: value.shape for key, value in MODELS.build(detector).state_dict().items()}


# What cannot be told is dropped. The backbone is there so that something fits.
UNCLEAR = [
    # Twelve rows of three classes: four anchors, or three with a background each?
    (12, 12, ('a', 'b', 'c'), ('b', 'a', 'd')),
    # One class of another name: one row and a background, or two anchors?
    (2, 2, ('a',), ('b',)),
    # Classes and two rows more: what these are is not known.
    (4, 5, CATS, BIRDS),
    # Softmax there, sigmoid here, even if that makes the same number of rows.
    (3, 3, CATS, BIRDS),
    (3, 2, CATS, ('dog', 'bird')),
    (3, 2, CATS, CATS),
    # The names are not known, on either side.
    (2, 3, None, BIRDS),
    (2, 3, CATS, None),
    (2, 3, (), BIRDS),
]


@pytest.mark.parametrize(('theirs', 'mine', 'source', 'target'), UNCLEAR)
def test_what_cannot_be_told_is_dropped(
    theirs: int,
    mine: int,
    source: tuple[str, ...] | None,
    target: tuple[str, ...] | None,
) -> None:
    key, kept = 'bbox_head.retina_cls.weight', {'backbone.w': torch.ones(1)}
    adapted, messages = adapt(
        kept | {key: torch.ones(theirs, 1)}, kept | {key: torch.ones(mine, 1)}, source, target
    )
    assert list(adapted) == ['backbone.w']
    assert messages == [
        f'dropped {key}: shape ({theirs}, 1) in the checkpoint, ({mine}, 1) in the model, '
        f'which keeps its initial values'
    ]


def test_other_dimensions_must_fit() -> None:
    kept = {'backbone.w': torch.ones(1)}
    key = 'bbox_head.conv_cls.weight'
    source, model = kept | {key: torch.ones(2, 5)}, kept | {key: torch.ones(3, 6)}
    assert adapt(source, model) == (
        {'backbone.w': [1]},
        [
            f'dropped {key}: shape (2, 5) in the checkpoint, (3, 6) in the model, which keeps its '
            f'initial values'
        ],
    )
    # Numbers have no rows.
    source, model = kept | {key: torch.tensor(1.0)}, kept | {key: torch.ones(3)}
    assert list(adapt(source, model)[0]) == ['backbone.w']


def test_half_precision_and_the_given_tensors_stay_as_they_are() -> None:
    key = 'bbox_head.conv_cls.weight'
    source, model = {key: rows(1, 2).half()}, {key: rows(50, 60, 70)}
    adapted, _ = adapt_detector_checkpoint(source, model, CATS, BIRDS)
    assert adapted[key].dtype == torch.float32
    assert source[key].flatten().tolist() == [1, 2]
    assert model[key].flatten().tolist() == [50, 60, 70]


def test_what_only_one_side_has_is_reported() -> None:
    both = {'backbone.a': rows(1), 'backbone.b': rows(1)}
    source = both | {'mask_head.x': rows(1), 'mask_head.y': rows(1)}
    adapted, messages = adapt(source, both | {'neck.z': rows(1)}, None, None)
    assert list(adapted) == ['backbone.a', 'backbone.b']
    assert messages == [
        "1 of the model's 3 tensors are not in the checkpoint and keep their initial values "
        '(first: neck.z)',
        "2 of the checkpoint's 4 tensors are not in the model and are ignored (first: mask_head.x)",
    ]


def test_checkpoints_of_other_detectors_are_refused() -> None:
    model = {f'backbone.{i}': rows(1) for i in range(20)}
    one = {'backbone.3': rows(1)}
    message = (
        "only 1 of the model's 20 tensors with the same name .* "
        r'\(the model has backbone\.0, the checkpoint encoder\.x\)'
    )
    with pytest.raises(ValueError, match=message):
        adapt({'encoder.x': rows(1)} | one, model)
    # Names alone do not make it fit: another width.
    with pytest.raises(ValueError, match="only 0 of the model's 20"):
        adapt({key: torch.ones(7, 7) for key in model}, model)
    with pytest.raises(ValueError, match='the checkpoint nothing'):
        adapt({}, model)
    # A tenth is enough.
    assert len(adapt(one | {'backbone.4': rows(1)}, model)[0]) == 2


def head(kind: str, classes: int) -> torch.nn.Module:
    """A real head of mmdet."""
    anchors: dict[str, Any] = {
        'type': 'AnchorGenerator',
        'strides': [8],
        'ratios': [0.5, 1.0],
        'scales': [4],
    }
    settings: dict[str, dict[str, Any]] = {
        'Shared2FCBBoxHead': {'in_channels': 2, 'roi_feat_size': 1, 'fc_out_channels': 4},
        'RetinaHead': {'in_channels': 2, 'feat_channels': 4, 'anchor_generator': anchors},
        'SSDHead': {
            'in_channels': (2,),
            'anchor_generator': {
                'type': 'SSDAnchorGenerator',
                'scale_major': False,
                'input_size': 64,
                'basesize_ratio_range': (0.2, 0.9),
                'strides': [8],
                'ratios': [[2]],
                'min_sizes': [8],
                'max_sizes': [16],
            },
        },
        'FCOSHead': {'in_channels': 2, 'feat_channels': 32, 'strides': [8]},
    }
    built: torch.nn.Module = MODELS.build({'type': kind, 'num_classes': classes, **settings[kind]})
    return built


def named(kind: str, module: torch.nn.Module) -> dict[str, Tensor]:
    return {f'bbox_head.{key}': value for key, value in module.state_dict().items()}


# What mmdet's heads say of a class must be the same before and after, whatever rows it is made of.
@pytest.mark.parametrize('target', [('c', 'x', 'a', 'y'), ('b', 'c', 'a'), ('c', 'a')])
@pytest.mark.parametrize('kind', ['Shared2FCBBoxHead', 'RetinaHead', 'SSDHead', 'FCOSHead'])
def test_mmdets_heads_say_the_same_of_the_same_class(kind: str, target: tuple[str, ...]) -> None:
    source = ('a', 'b', 'c')
    old, new = head(kind, len(source)), head(kind, len(target))
    adapted, messages = adapt_detector_checkpoint(
        named(kind, old), named(kind, new), source, target
    )
    assert len(messages) == 1
    assert messages[0].startswith('class head adapted')
    state = {key.removeprefix('bbox_head.'): value for key, value in adapted.items()}
    new.load_state_dict(state)

    if kind == 'Shared2FCBBoxHead':
        features = torch.rand(5, 2, 1, 1)
        before, after = [
            (s.view(5, 1, -1), b.view(5, -1, 4)) for s, b in (old(features), new(features))
        ]
        for i, name in enumerate(target):
            if name in source:
                torch.testing.assert_close(after[1][:, i], before[1][:, source.index(name)])
        torch.testing.assert_close(after[0][..., -1], before[0][..., -1])
        scores = before[0], after[0]
    else:
        features = (torch.rand(1, 2, 3, 4),)
        scores = tuple(
            h(features)[0][0].permute(0, 2, 3, 1).reshape(1, -1, h.cls_out_channels)
            for h in (old, new)
        )
    for i, name in enumerate(target):
        if name in source:
            torch.testing.assert_close(scores[1][..., i], scores[0][..., source.index(name)])


@pytest.mark.parametrize(
    'key',
    ['roi_head.bbox_head.fc_reg.weight', 'bbox_head.conv_reg.weight', 'bbox_head.rtm_reg.0.bias'],
)
def test_the_place_of_a_single_class_is_that_of_another(key: str) -> None:
    adapted, _ = adapt({key: rows(1, 2, 3, 4)}, {key: rows(0, 0, 0, 0)}, ('face',), ('cell',))
    assert adapted == {key: [1, 2, 3, 4]}
