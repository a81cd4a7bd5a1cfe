"""The weak and strong view of an image, and the labelled one."""

import numpy as np
import pytest
import torch
from mmcv.transforms import BaseTransform
from mmdet.registry import TRANSFORMS
from mmdet.structures.bbox import HorizontalBoxes
from mmengine.dataset import pseudo_collate

from ssod.data.branches import pop_branch
from ssod.data.views import META_KEYS, LabeledView, TwoViews
from ssod.projection import project_boxes, view_to_view

FLIP = dict(type='RandomFlip', prob=1.0)
TWICE = dict(type='Resize', scale_factor=2.0)


def loaded(boxes=((0, 0, 10, 20),)):
    """An image of 20 by 40 with a white patch where the first box is, as loading gives it."""
    image = np.zeros((20, 40, 3), np.uint8)
    image[:, :10] = 255
    return {
        'img': image,
        'img_id': 7,
        'img_path': 'a.jpg',
        'img_shape': (20, 40),
        'ori_shape': (20, 40),
        'instances': [{'bbox': list(b), 'bbox_label': 3, 'ignore_flag': 0} for b in boxes],
        'gt_bboxes': HorizontalBoxes(np.array(boxes, np.float32).reshape(-1, 4)),
        'gt_bboxes_labels': np.full(len(boxes), 3),
        'gt_ignore_flags': np.zeros(len(boxes), bool),
    }


def test_labeled_view_of_an_untouched_image():
    sample = LabeledView().transform(loaded())
    assert list(sample) == ['inputs', 'data_samples']
    assert list(sample['inputs']) == list(sample['data_samples']) == ['labeled', 'weak', 'strong']
    assert sample['inputs']['weak'] is sample['inputs']['strong'] is None
    assert sample['data_samples']['weak'] is sample['data_samples']['strong'] is None
    image, truth = sample['inputs']['labeled'], sample['data_samples']['labeled']
    assert (image.shape, image.dtype) == ((3, 20, 40), torch.uint8)
    assert truth.gt_instances.bboxes.tensor.tolist() == [[0, 0, 10, 20]]
    assert truth.gt_instances.labels.tolist() == [3]
    # Every sample knows everything, whether a transform wrote it or not.
    assert sorted(truth.metainfo_keys()) == sorted(META_KEYS)
    assert truth.homography_matrix.tolist() == np.eye(3).tolist()
    assert (truth.scale_factor, truth.flip, truth.flip_direction) == ((1.0, 1.0), False, None)


def test_labeled_view_moves_the_boxes():
    sample = LabeledView([FLIP, TWICE]).transform(loaded())
    truth = sample['data_samples']['labeled']
    assert truth.gt_instances.bboxes.tensor.tolist() == [[60, 0, 80, 40]]
    assert truth.homography_matrix.tolist() == [[-2, 0, 80], [0, 2, 0], [0, 0, 1]]


def test_labeled_view_of_an_image_without_boxes():
    truth = LabeledView([FLIP]).transform(loaded(()))['data_samples']['labeled']
    assert truth.gt_instances.bboxes.tensor.shape == (0, 4)


def test_labeled_view_may_do_what_it_likes():
    LabeledView([dict(type='RandomAffine'), dict(type='Expand')])


def test_two_views():
    sample = TwoViews(weak=[FLIP], strong=[TWICE]).transform(loaded())
    assert sample['inputs']['labeled'] is sample['data_samples']['labeled'] is None
    weak, strong = (sample['data_samples'][name] for name in ('weak', 'strong'))
    assert sample['inputs']['weak'].shape == (3, 20, 40)
    assert sample['inputs']['strong'].shape == (3, 40, 80)
    assert weak.flip
    assert not strong.flip
    assert sorted(weak.metainfo_keys()) == sorted(strong.metainfo_keys()) == sorted(META_KEYS)
    # The patch at the right of the weak view is the one at the left of the strong view.
    found = torch.tensor([[30.0, 0.0, 40.0, 20.0]])
    x1, y1, x2, y2 = project_boxes(found, view_to_view([weak], [strong])[0])[0].int().tolist()
    assert [x1, y1, x2, y2] == [0, 0, 20, 40]
    assert (sample['inputs']['weak'][:, :, 30:] == 255).all()
    assert (sample['inputs']['strong'][:, y1:y2, x1 : x2 - 1] == 255).all()


def test_views_without_transforms_are_the_image():
    results = loaded()
    sample = TwoViews().transform(results)
    for name in ('weak', 'strong'):
        assert sample['inputs'][name].permute(1, 2, 0).numpy().tolist() == loaded()['img'].tolist()


class Paint(BaseTransform):
    """Writes into the image that it is given, as many transforms do."""

    def transform(self, results):
        """Paint it grey."""
        results['img'][:] = 128
        return results


@pytest.mark.parametrize('painted', ['weak', 'strong'])
def test_a_view_may_write_into_its_image(painted):
    other = {'weak': 'strong', 'strong': 'weak'}[painted]
    sample = TwoViews(**{painted: [Paint()]}).transform(loaded())
    assert (sample['inputs'][painted] == 128).all()
    assert sample['inputs'][other].float().mean() == 255 / 4


@pytest.mark.parametrize('kind', ['with labels', 'empty', 'nothing loaded'])
def test_no_label_gets_through(kind):
    results = loaded(((0, 0, 10, 20),) if kind == 'with labels' else ())
    if kind == 'nothing loaded':
        results = {k: v for k, v in results.items() if not k.startswith('gt_')}
    sample = TwoViews(weak=[FLIP], strong=[FLIP]).transform(results)
    for name in ('weak', 'strong'):
        instances = sample['data_samples'][name].gt_instances
        assert instances.bboxes.tensor.shape == (0, 4)
        assert instances.labels.tolist() == []


def test_what_was_done_before_both_views_counts():
    results = loaded()
    results['homography_matrix'] = np.diag([2.0, 2.0, 1.0])
    sample = TwoViews(strong=[TWICE]).transform(results)
    assert sample['data_samples']['weak'].homography_matrix[0, 0] == 2
    assert sample['data_samples']['strong'].homography_matrix[0, 0] == 4


class Shift(BaseTransform):
    """Moves the image by 26 pixels, and writes that into the matrix it was given."""

    def transform(self, results):
        results['homography_matrix'][:] = [[1, 0, 26], [0, 1, 0], [0, 0, 1]] @ results[
            'homography_matrix'
        ]
        return results


def test_a_matrix_that_is_written_into_is_that_of_one_view():
    views = TwoViews(weak=[], strong=[], common=[FLIP])
    views._weak.transforms = [Shift()]
    sample = views.transform(loaded())
    weak, strong = (sample['data_samples'][n].homography_matrix for n in ('weak', 'strong'))
    assert (weak - strong)[0].tolist() == [0, 0, 26]


def test_what_both_views_have_in_common_is_drawn_once():
    resize = dict(type='RandomResize', scale=(80, 40), ratio_range=(0.5, 1.5))
    views = TwoViews(weak=[Paint()], strong=[], common=[resize, dict(type='RandomFlip', prob=0.5)])
    widths, flips = set(), set()
    for _ in range(8):
        sample = views.transform(loaded())
        weak, strong = (sample['data_samples'][name] for name in ('weak', 'strong'))
        assert weak.homography_matrix.tolist() == strong.homography_matrix.tolist()
        assert (weak.img_shape, weak.flip) == (strong.img_shape, strong.flip)
        # Each view has pixels of its own all the same.
        assert (sample['inputs']['weak'] == 128).all()
        assert sample['inputs']['strong'].float().mean().item() == pytest.approx(64, abs=3)
        assert weak.gt_instances.bboxes.tensor.shape == (0, 4)
        widths.add(weak.img_shape[1])
        flips.add(weak.flip)
    assert len(widths) > 1
    assert len(flips) == 2


def test_an_image_given_up_in_common_is_given_up():
    views = TwoViews(common=[FLIP])
    views._common = [lambda results: None]
    assert views.transform(loaded()) is None


@pytest.mark.parametrize('view', ['weak', 'strong', 'common'])
def test_a_view_that_cannot_be_followed_is_refused(view):
    with pytest.raises(ValueError, match=f'^{view} view: RandomAffine moves'):
        TRANSFORMS.build({'type': 'TwoViews', view: [dict(type='RandomAffine')]})


def test_an_image_given_up_is_given_up():
    crop = dict(type='RandomCrop', crop_size=(5, 5))
    assert LabeledView([crop]).transform(loaded(())) is None


def test_pack_det_inputs_may_stand_at_the_end():
    pack = dict(type='PackDetInputs', meta_keys=('img_id', 'depth'))
    sample = LabeledView([FLIP, pack]).transform({**loaded(), 'depth': 5})
    keys = sample['data_samples']['labeled'].metainfo_keys()
    assert sorted(keys) == sorted([*META_KEYS, 'depth'])


def test_a_mixed_batch_is_collated_into_branches():
    labeled, two = LabeledView([FLIP]), TwoViews(weak=[], strong=[FLIP])
    for samples in ([labeled, two, two], [two, labeled, two]):
        batch = pseudo_collate([s.transform(loaded()) for s in samples])
        for name, count in (('labeled', 1), ('weak', 2), ('strong', 2)):
            assert len(batch['inputs'][name]) == 3
            branch = pop_branch(batch, name)
            assert len(branch['inputs']) == len(branch['data_samples']) == count


def test_misspelt_settings():
    with pytest.raises(ValueError, match=r"TwoViews.*did you mean 'strong'"):
        TwoViews(stong=[])
    with pytest.raises(ValueError, match=r"LabeledView.*did you mean 'transforms'"):
        LabeledView(transform=[])
