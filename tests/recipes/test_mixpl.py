"""MixPL: mixed images and their boxes against hand-computed ones, its memory, its losses."""

import copy
import math

import numpy as np
import pytest
import torch
from mmdet.registry import HOOKS, MODELS
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.runner import Runner
from mmengine.structures import InstanceData

from ssod.checkpoints import load_checkpoint
from ssod.data.branches import Branch
from ssod.recipes.mixpl import Lesson, MixPLHook, erase, fit, flip, mean_colour, mix, mosaic

GREY = torch.full((3, 1, 1), 100, dtype=torch.uint8)


def lesson(image, boxes=(), path='a.png'):
    """One channel three times, and boxes whose labels count up."""
    image = torch.as_tensor(image, dtype=torch.uint8).expand(3, -1, -1)
    boxes = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    labels = torch.arange(len(boxes))
    return Lesson(image, InstanceData(bboxes=boxes, labels=labels, scores=labels / 10), path)


def plain(height, width, value, boxes=(), path='a.png'):
    return lesson(torch.full((height, width), value), boxes, path)


def channel(made):
    assert made.image.dtype == torch.uint8
    assert torch.equal(made.image[0], made.image[2])
    return made.image[0].tolist()


def test_mix_of_two_images():
    # 2 × 3 of 10 at the lower right, 3 × 2 of 201 at the upper left of 3 × 3; grey around them.
    one = plain(2, 3, 10, [[0, 0, 2, 1]], 'a.png')
    two = plain(3, 2, 201, [[1, 1, 2, 3], [0, 0, 1, 1]], 'b.png')
    made = mix((one, two), [(0, 1), (0, 0)], GREY)
    # (100 + 201) / 2 is 150.5, (10 + 201) / 2 is 105.5: rounded up. (10 + 100) / 2 is 55.
    assert channel(made) == [[151, 151, 100], [106, 106, 55], [106, 106, 55]]
    assert made.instances.bboxes.tolist() == [[0, 1, 2, 2], [1, 1, 2, 3], [0, 0, 1, 1]]
    assert made.instances.labels.tolist() == [0, 0, 1]
    assert made.path == 'a.png + b.png'
    # What was mixed stays as it was.
    assert one.instances.bboxes.tolist() == [[0, 0, 2, 1]]
    assert channel(one)[0] == [10, 10, 10]


def test_mix_with_an_image_without_boxes():
    made = mix((plain(2, 2, 0), plain(2, 2, 8, [[0, 0, 1, 1]])), [(0, 0), (0, 0)], GREY)
    assert made.instances.bboxes.tolist() == [[0, 0, 1, 1]]
    none = mix((plain(2, 2, 0), plain(2, 2, 8)), [(0, 0), (0, 0)], GREY)
    assert none.instances.bboxes.shape == (0, 4)


def test_mosaic():
    parts = [
        plain(1, 2, 1, [[0, 0, 1, 1]]),
        plain(2, 1, 2, [[0, 0, 1, 2]]),
        plain(2, 2, 3),
        plain(1, 1, 4, [[0, 0, 1, 1]]),
    ]
    made = mosaic(parts, GREY)
    # Quarters of 2 × 2 around the middle.
    assert channel(made) == [
        [100, 100, 2, 100],
        [1, 1, 2, 100],
        [3, 3, 4, 100],
        [3, 3, 100, 100],
    ]
    assert made.instances.bboxes.tolist() == [[0, 1, 1, 2], [2, 0, 3, 2], [2, 2, 3, 3]]


@pytest.mark.parametrize(
    ('shape', 'size', 'boxes'),
    [
        # Half as high and wide, twice, only as wide as there is room, and as it is.
        ((2, 4), (2, 4), [[1, 0, 3, 2]]),
        ((8, 100), (8, 16), [[4, 0, 12, 8]]),
        ((9, 4), (2, 4), [[1, 0, 3, 2]]),
        ((4, 8), (4, 8), [[2, 0, 6, 4]]),
        # Never nothing.
        ((1, 1), (1, 1), [[0.25, 0, 0.75, 1]]),
    ],
)
def test_fit(shape, size, boxes):
    made = fit(plain(4, 8, 7, [[2, 0, 6, 4]]), shape)
    assert made.shape == size
    assert made.instances.bboxes.tolist() == boxes


def test_boxes_are_scaled_as_the_image_is():
    # 3 × 5 into 1 × 9: 1 × 2, for 1.67 is rounded, so boxes are 2/5 as wide and a third as high.
    made = fit(plain(3, 5, 7, [[0, 0, 5, 3]]), (1, 9))
    assert made.shape == (1, 2)
    assert made.instances.bboxes.flatten().tolist() == pytest.approx([0, 0, 2, 1])


def test_flip():
    made = flip(lesson([[1, 2, 3, 4]], [[0, 0, 1, 1], [1, 0, 4, 1]]))
    assert channel(made) == [[4, 3, 2, 1]]
    assert made.instances.bboxes.tolist() == [[3, 0, 4, 1], [0, 0, 3, 1]]


def test_erase():
    # The first box lies half, the second with 3/4 of its area below the patches, the last not.
    boxes = [[0, 0, 2, 2], [2, 0, 4, 2], [4, 0, 5, 2]]
    whole = plain(2, 5, 7, boxes)
    made = erase(whole, [[0, 0, 1, 2], [2, 0, 3, 2], [3, 0, 4, 1]], GREY, 0.7)
    assert channel(made) == [[100, 7, 100, 100, 7], [100, 7, 100, 7, 7]]
    assert made.instances.labels.tolist() == [0, 2]
    assert channel(whole) == [[7] * 5] * 2
    assert len(whole.instances) == 3
    assert len(erase(whole, [[0, 0, 1, 2]], GREY, 0.5).instances) == 2
    # No patch and no box.
    assert len(erase(whole, [], GREY, 0.7).instances) == 3
    assert len(erase(plain(2, 2, 7), [[0, 0, 1, 1]], GREY, 0.7).instances) == 0


def test_the_colour_is_what_padding_becomes():
    preprocessor = Config.fromfile('configs/mixpl_fcos_digits10pct.py').model.data_preprocessor
    model = MODELS.build(preprocessor)
    colour = mean_colour(model.data_preprocessor)
    # Images are BGR, the mean is RGB.
    assert colour.flatten().tolist() == [104, 116, 124]
    data = dict(inputs=[colour.expand(3, 32, 20)], data_samples=[DetDataSample()])
    inputs = model(data)['inputs']
    assert inputs[..., 20:].abs().max() == 0
    assert inputs.abs().max() < 0.01


def batch(count, first=0, boxes=1):
    """Strong views of one value each, with a box in the upper left corner."""
    samples = []
    for number in range(first, first + count):
        meta = dict(img_shape=(20, 30), img_path=f'{number}.png', homography_matrix=np.eye(3))
        sample = DetDataSample(metainfo=meta)
        sample.gt_instances = InstanceData(
            bboxes=torch.tensor([[0.0, 0, 20, 10]] * boxes).reshape(-1, 4),
            labels=torch.full((boxes,), number),
            scores=torch.full((boxes,), 0.9),
            weights=torch.full((boxes,), number / 2),
        )
        samples.append(sample)
    pictures = [
        torch.full((3, 20, 30), 10 * number, dtype=torch.uint8)
        for number in range(first, first + count)
    ]
    return Branch(inputs=pictures, data_samples=samples)


def hook(**changes):
    settings = dict(mosaic_sides=(10, 10), patches=(0, 0), flip=False)
    made = MixPLHook(**{**settings, **changes})
    made._colour = GREY
    return made


def test_what_is_mixed_with_what():
    np.random.seed(0)
    mixing = hook()
    # Six views fill the memory; until then they stay as they are.
    for first in (0, 2, 4):
        made = mixing.mixed(batch(2, first))
        assert [s.img_path for s in made['data_samples']] == [f'{first}.png', f'{first + 1}.png']
        assert [int(i[0, 0, 0]) for i in made['inputs']] == [10 * first, 10 * first + 10]
    made = mixing.mixed(batch(2, 6))
    one, two, last = made['data_samples']
    # The new ones with the oldest two in some order, then a mosaic of the other four.
    assert {one.img_path, two.img_path} in ({'6.png + 0.png', '7.png + 1.png'},
                                            {'6.png + 1.png', '7.png + 0.png'})  # fmt: skip
    assert sorted(last.img_path.split(' + ')) == ['2.png', '3.png', '4.png', '5.png']
    assert (one.get('mosaic'), last.get('mosaic')) == (None, True)
    assert sorted(one.gt_instances.labels.tolist())[1] == 6
    # What a selector said of each box goes with it.
    assert torch.equal(one.gt_instances.weights, one.gt_instances.labels / 2)
    partner = int(one.img_path.split(' + ')[1][0])
    assert int(made['inputs'][0][0, 0, 0]) == (60 + 10 * partner + 1) // 2
    # A third of the size: 10 × 15 would fit 10 rows, but only 10 columns fit: 7 × 10.
    assert last.img_shape == (14, 20)
    assert made['inputs'][2].shape == (3, 14, 20)
    # Each box has the width 20 and height 10 of 30 × 20.
    sides = last.gt_instances.bboxes[:, 2:] - last.gt_instances.bboxes[:, :2]
    assert sides.flatten().tolist() == pytest.approx([20 / 3, 3.5] * 4, abs=1e-5)
    # A homography of two images there is none.
    assert 'homography_matrix' not in one
    # The latest six are remembered, unmixed.
    assert [x.path for x in mixing.cache] == [f'{n}.png' for n in range(2, 8)]
    assert [int(x.image[0, 0, 0]) for x in mixing.cache] == [10 * n for n in range(2, 8)]


def test_colours_beyond_bytes_do_not_wrap():
    np.random.seed(0)
    mixing = hook()
    for first in (0, 2, 4, 6):
        views = batch(2, first)
        views['inputs'][:] = [torch.full((3, 20, 30), value) for value in (300.0, -20.0)]
        made = mixing.mixed(views)
    seen = torch.cat([picture.flatten() for picture in made['inputs']])
    assert seen.dtype == torch.uint8
    assert {0, 255} <= {*seen.tolist()} <= {0, 128, 255, *GREY.flatten().tolist()}


def test_images_without_boxes_are_left_out():
    mixing = hook()
    empty, full = batch(1, boxes=0), batch(1, 1)
    both = Branch(**{key: empty[key] + full[key] for key in empty})
    assert [s.img_path for s in mixing.mixed(both)['data_samples']] == ['1.png']
    # One remains where all are empty, so that all ranks compute the same losses.
    made = mixing.mixed(batch(2, boxes=0))
    assert [s.img_path for s in made['data_samples']] == ['0.png']


def test_what_is_remembered_is_flipped_and_erased_when_it_is_used():
    np.random.seed(0)
    mixing = hook(flip=True, patches=(3, 3), patch_side=0.5, most_erased=0.01)
    marked = plain(20, 30, 7, [[0, 0, 3, 3]])
    seen = [mixing._recalled(marked, (20, 30)) for _ in range(50)]
    assert {tuple(x.instances.bboxes.flatten().tolist()) for x in seen} == {(), (27, 0, 30, 3)}
    assert all((x.image == 100).any() for x in seen)
    assert (marked.image == 7).all()
    # Three patches, each of at most half of the height and width.
    shares = [(x.image[0] == 100).float().mean().item() for x in seen]
    assert max(shares) <= 0.75


@pytest.mark.parametrize('count', [1, 3])
def test_as_many_are_remembered_as_a_batch_and_a_mosaic_take(count):
    mixing = hook()
    # As after a resumption with a batch of another size.
    for first in (0, 2, 4):
        mixing.mixed(batch(2, first))
    mixed = []
    for first in range(6, 6 + 3 * count, count):
        made = mixing.mixed(batch(count, first))
        mixed.append(len(made['inputs']) > count)
    # Six are too few for three views, and enough for one.
    assert mixed == ([False, True, True] if count == 3 else [True, True, True])
    assert len(mixing.cache) == count + 4


@pytest.mark.parametrize(
    'setting',
    [
        dict(mosaic_sides=(0, 5)),
        dict(mosaic_sides=(8, 5)),
        dict(patches=(2, 1)),
        dict(patch_side=1.0),
        dict(most_erased=0.0),
    ],
)
def test_settings_out_of_range_are_refused(setting):
    with pytest.raises(ValueError, match=f'MixPLHook: {next(iter(setting))} is'):
        MixPLHook(**setting)
    with pytest.raises(ValueError, match=r"did you mean 'mosaic_sides'"):
        HOOKS.build(dict(type='MixPLHook', mosaic_side=(1, 2)))


def model_of(name):
    cfg = Config.fromfile(f'configs/mixpl_{name}_digits10pct.py').model
    cfg.detector.backbone.norm_eval = True
    torch.manual_seed(0)
    model = MODELS.build(cfg)
    model.init_weights()
    return model.train()


def strong_samples(*counts):
    made = []
    for count in counts:
        meta = dict(img_shape=(64, 64), batch_input_shape=(64, 64), pad_shape=(64, 64))
        sample = DetDataSample(metainfo=meta)
        sample.gt_instances = InstanceData(
            bboxes=torch.tensor([[8.0, 8, 40, 40]] * count).reshape(-1, 4),
            labels=torch.full((count,), 3),
        )
        made.append(sample)
    made[-1].set_metainfo(dict(mosaic=True))
    return made


def test_the_mosaic_has_a_loss_and_a_weight_of_its_own():
    model = model_of('fcos')
    features = model.student.extract_feat(torch.randn(3, 3, 64, 64))
    inputs, samples = torch.zeros(3, 3, 64, 64), strong_samples(1, 2, 3)
    losses = model.pseudo_loss(features, inputs, samples)
    alone = [model.student_loss([f[:2] for f in features], inputs[:2], samples[:2])]
    alone.append(model.student_loss([f[2:] for f in features], inputs[2:], samples[2:]))
    assert losses.keys() == {f'{k}_{n}' for k in ('mixup', 'mosaic') for n in alone[0]}
    for name, value in alone[0].items():
        assert torch.equal(losses[f'mixup_{name}'], value)
        assert torch.equal(losses[f'mosaic_{name}'], 0.5 * alone[1][name])


def test_images_without_any_box_count_nothing():
    model = model_of('fcos')
    features = model.student.extract_feat(torch.randn(3, 3, 64, 64))
    for counts, taught in (((0, 1, 0), {'mixup'}), ((0, 0, 2), {'mosaic'}), ((0, 0, 0), set())):
        losses = model.pseudo_loss(features, torch.zeros(3, 3, 64, 64), strong_samples(*counts))
        assert {name.split('_')[0] for name, v in losses.items() if v != 0} == taught
    # Before there are mosaics.
    without = strong_samples(1, 1)
    without[-1].pop('mosaic')
    losses = model.pseudo_loss([f[:2] for f in features], torch.zeros(2, 3, 64, 64), without)
    assert {name.split('_')[0] for name in losses} == {'mixup'}


def test_a_negative_weight_is_refused():
    cfg = Config.fromfile('configs/mixpl_fcos_digits10pct.py').model
    with pytest.raises(ValueError, match='mosaic_weight is -1'):
        MODELS.build(dict(cfg, mosaic_weight=-1))


def mixpl(digits_cfg, name, iters=4):
    """A digits config of MixPL at the size of seconds: three strong views, so 7 remembered."""
    leaf = Config.fromfile(f'configs/mixpl_{name}_digits10pct.py')
    digits_cfg.model = leaf.model
    digits_cfg.model.detector.backbone.norm_eval = True
    digits_cfg.train_dataloader.dataset.datasets[1].pipeline = leaf.unlabeled.pipeline
    digits_cfg.default_hooks.mixpl = leaf.default_hooks.mixpl
    # All of its boxes are pseudo-boxes.
    digits_cfg.default_hooks.teacher.selector = dict(type='TopSelector', count=3)
    for part in ('rcnn', ''):
        cfg = digits_cfg.model.detector.test_cfg.get(part, digits_cfg.model.detector.test_cfg)
        cfg.score_thr = 0.0
    if name == 'dino':
        digits_cfg.model.detector.test_cfg.pop('score_thr')
    digits_cfg.train_cfg.max_iters = iters
    return digits_cfg


def hook_of(runner):
    return next(h for h in runner.hooks if isinstance(h, MixPLHook))


@pytest.mark.parametrize('name', ['fasterrcnn', 'fcos', 'dino'])
def test_it_trains(digits_cfg, name):
    runner = Runner.from_cfg(mixpl(digits_cfg, name))
    runner.train()
    assert len(hook_of(runner).cache) == 7
    logged = {k: v.data[0].tolist() for k, v in runner.message_hub.log_scalars.items()}
    losses = {k: v for k, v in logged.items() if k.startswith('train/pseudo_') and 'loss' in k}
    assert all(math.isfinite(v) for values in losses.values() for v in values)
    # Three iterations fill the memory; the fourth mixes.
    assert {len(v) for k, v in losses.items() if '_mixup_' in k} == {4}
    assert {len(v) for k, v in losses.items() if '_mosaic_' in k} == {1}
    assert max(values[-1] for k, values in losses.items() if '_mosaic_' in k) > 0
    # The boxes are counted before they are mixed: three an image.
    assert logged['train/pseudo_boxes'][-1] <= 3


def test_it_is_resumed_bit_for_bit(digits_cfg):
    whole = mixpl(digits_cfg, 'fcos', iters=6)
    resumed = copy.deepcopy(whole)
    runner = Runner.from_cfg(whole)
    runner.train()
    resumed.work_dir += '-resumed'
    resumed.merge_from_dict(dict(resume=True, load_from=f'{whole.work_dir}/iter_4.pth'))
    other = Runner.from_cfg(resumed)
    other.train()
    ends = [load_checkpoint(f'{r.work_dir}/iter_6.pth') for r in (runner, other)]
    for name, tensor in ends[0]['state_dict'].items():
        assert torch.equal(tensor, ends[1]['state_dict'][name]), name
    one, two = (end['mixpl'] for end in ends)
    assert len(one) == len(two) == 7
    for first, second in zip(one, two, strict=True):
        assert first.pop('path') == second.pop('path')
        assert all(torch.equal(v, second[k]) for k, v in first.items())
    # A run that only starts from those weights begins with no images.
    third = copy.deepcopy(whole)
    third.work_dir += '-other'
    third.merge_from_dict({'load_from': f'{whole.work_dir}/iter_4.pth', 'train_cfg.max_iters': 1})
    fresh = Runner.from_cfg(third)
    fresh.train()
    assert len(hook_of(fresh).cache) == 3


def test_another_model_is_refused(digits_cfg):
    digits_cfg.default_hooks.mixpl = dict(type='MixPLHook')
    with pytest.raises(ValueError, match="SemiSupervisedDetector, .* model.type='MixPL'"):
        Runner.from_cfg(digits_cfg).train()


def test_labelled_images_can_be_resampled(digits_cfg):
    # The paper's resampling of labelled images with rare classes, in a config's words.
    cfg = mixpl(digits_cfg, 'fcos', iters=1)
    labeled, unlabeled = cfg.train_dataloader.dataset.datasets
    rare = dict(type='ClassBalancedDataset', oversample_thr=1.0, dataset=labeled)
    cfg.train_dataloader.dataset.datasets = [rare, unlabeled]
    runner = Runner.from_cfg(cfg)
    runner.train()
    labels, _ = runner.train_dataloader.dataset.datasets
    assert len(labels) > len(labels.dataset) == 2
