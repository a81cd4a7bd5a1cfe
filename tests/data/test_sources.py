"""Sources side by side: samples that depend on their draw, and broken unlabelled images."""

import gc
import pickle
from pathlib import Path

import cv2
import pytest
import torch
from mmdet.datasets import CocoDataset
from mmdet.registry import DATASETS
from mmengine.runner import Runner

from ssod.data import broken_images
from ssod.data.broken_images import BrokenImagesHook
from ssod.data.load_image import BrokenImageError
from ssod.data.sampler import Draw, SourceRatioSampler
from ssod.data.sources import _views


@pytest.fixture
def sources(digits_cfg):
    """Two labelled and eighteen unlabelled scenes, with all the chance that the example has."""
    return DATASETS.build(digits_cfg.train_dataloader.dataset)


def pixels(sample):
    return [x for x in sample['inputs'].values() if x is not None]


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(pixels(one), pixels(other), strict=True))


def test_nothing_is_searched_for_garbage_while_annotations_are_read(digits_cfg, monkeypatch):
    read, enabled = CocoDataset.load_data_list, []

    def watch(dataset):
        enabled.append(gc.isenabled())
        return read(dataset)

    monkeypatch.setattr(CocoDataset, 'load_data_list', watch)
    DATASETS.build(digits_cfg.train_dataloader.dataset)
    assert enabled == [False, False]
    assert gc.isenabled()


def test_a_sample_depends_on_its_draw_alone(sources):
    draw = Draw(3, (0, 1, 7))
    first = sources[draw]
    sources[4]
    assert same(sources[draw], first)
    # Drawn another time, the same image looks another way.
    assert not same(sources[Draw(3, (0, 1, 8))], first)


def test_all_views_know_their_draw(sources):
    views = sources[Draw(3, (0, 1, 7))]['data_samples']
    known = [view.draw for view in views.values() if view is not None]
    assert known == [(0, 1, 7)] * 2
    assert 'draw' not in sources[3]['data_samples']['strong']


def test_a_draw_keeps_its_key_on_the_way_to_a_worker():
    draw = pickle.loads(pickle.dumps(Draw(3, (0, 1, 7))))
    assert (draw, draw.key, draw + 1) == (3, (0, 1, 7), 4)


def test_draws_are_numbered_over_all_ranks(sources):
    def keys(rank, world_size, count):
        sampler = SourceRatioSampler(sources, [1, 1], seed=9)
        sampler.rank, sampler.world_size = rank, world_size
        return [draw.key for draw, _ in zip(sampler, range(count), strict=False)]

    # Two ranks together have the draws of one process, each once.
    assert sorted(keys(0, 2, 4) + keys(1, 2, 4)) == sorted(keys(0, 1, 8))
    assert keys(0, 1, 4) == [(9, 0, 0), (9, 1, 0), (9, 0, 1), (9, 1, 1)]


def test_labelled_images_are_drawn_some_times_each_with_other_views(sources):
    draws = list(sources.labeled_draws(seed=4, views=3))
    assert [sorted(map(int, draws[i : i + 2])) for i in (0, 2, 4)] == [[0, 1]] * 3
    assert len({draw.key for draw in draws}) == 6
    assert not same(sources[draws[0]], sources[next(d for d in draws[2:] if d == draws[0])])
    again, other = (list(sources.labeled_draws(seed, 3)) for seed in (4, 5))
    assert [draw.key for draw in again] == [draw.key for draw in draws]
    assert not {draw.key for draw in other} & {draw.key for draw in draws}
    assert all(sources[draw]['inputs']['labeled'] is not None for draw in draws)


def test_the_first_labelled_images_have_all_classes(sources, monkeypatch):
    # Class 1 is in one image of forty, and the ignored box of another teaches nothing.
    boxes = {place: [dict(bbox_label=0, ignore_flag=0)] for place in range(40)}
    boxes[17] = [dict(bbox_label=1, ignore_flag=0), dict(bbox_label=0, ignore_flag=0)]
    boxes[5] = [dict(bbox_label=2, ignore_flag=1)]
    monkeypatch.setattr(sources, 'cumulative_sizes', [40, 58])
    monkeypatch.setattr(sources, 'get_data_info', lambda place: {'instances': boxes[place]})
    for seed in range(5):
        places = list(map(int, sources.labeled_draws(seed, views=2)))
        for first in (places[:40], places[40:]):
            assert sorted(first) == list(range(40))
            assert 17 in first[:2]
            assert first[-1] == 5


def test_views_of_mmdets_own_branches_are_no_labelled_ones(digits_cfg):
    views = dict(type='MultiBranch', branch_field=['labeled', 'weak', 'strong'])
    branch = [dict(type='PackDetInputs', meta_keys=('img_id', 'homography_matrix'))]
    unlabeled = digits_cfg.train_dataloader.dataset.datasets[1]
    unlabeled.pipeline = [dict(type='LoadImageFromFile'), dict(views, weak=branch, strong=branch)]
    sources = DATASETS.build(digits_cfg.train_dataloader.dataset)
    assert sources.num_unlabeled == 18
    assert set(sources.labeled_draws(seed=4, views=3)) == {0, 1}


@pytest.mark.parametrize(
    ('step', 'meta', 'told'),
    [
        (
            dict(type='RandomFlip', prob=1.0),
            'img_id',
            'strong has PackDetInputs without homography',
        ),
        (dict(type='RandomAffine'), 'homography_matrix', 'strong view: RandomAffine moves boxes'),
    ],
)
def test_branches_of_mmdet_have_to_say_how_they_move_an_image(digits_cfg, step, meta, told):
    packs = [dict(type='PackDetInputs', meta_keys=(key,)) for key in ('homography_matrix', meta)]
    views = dict(weak=packs[:1], strong=[step, packs[1]])
    unlabeled = digits_cfg.train_dataloader.dataset.datasets[1]
    unlabeled.pipeline[1:] = [dict(type='MultiBranch', branch_field=list(views), **views)]
    with pytest.raises(ValueError, match=told):
        DATASETS.build(digits_cfg.train_dataloader.dataset)


def test_a_source_of_several_folders(digits_cfg):
    labeled, unlabeled = digits_cfg.train_dataloader.dataset.datasets
    several = dict(type='ConcatDataset', datasets=[unlabeled, unlabeled])
    sources = DATASETS.build(dict(type='ImageSources', datasets=[labeled, several]))
    assert (len(sources), sources.num_unlabeled) == (2 + 2 * 18, 2 * 18)
    assert len(set(sources.unlabeled_paths())) == 18
    assert sources[Draw(25, (0, 1, 7))]['inputs']['strong'] is not None


def test_what_is_too_thin_for_its_views_is_skipped(digits_cfg):
    sources = DATASETS.build(digits_cfg.train_dataloader.dataset)
    unlabeled = sources.datasets[1]
    unlabeled.pipeline.transforms.insert(1, Thin(unlabeled.get_data_info(4)['img_path']))
    views = sources[Draw(2 + 4, (0, 1, 7))]
    assert views['inputs']['strong'] is not None
    assert [Path(path).stem for path in views['data_samples']['strong'].skipped]
    with pytest.raises(BrokenImageError, match=r'cannot be made into views: .*; crop or remove it'):
        _views(unlabeled, 4)


class Thin:
    """Resizes one image to a height of less than a pixel."""

    def __init__(self, path):
        self.path = path

    def __call__(self, results):
        if results['img_path'] == self.path:
            cv2.resize(results['img'], (8, 0))
        return results


@pytest.mark.parametrize('num_workers', [1, 4])
def test_the_same_batches_from_any_number_of_workers(digits_cfg, num_workers):
    def batches(count):
        loader = {**digits_cfg.train_dataloader, 'num_workers': count}
        built = Runner.build_dataloader(loader, seed=3)
        return [pixels(batch)[0] for batch, _ in zip(built, range(4), strict=False)]

    for one, other in zip(batches(0), batches(num_workers), strict=True):
        views = zip(one, other, strict=True)
        assert all(a is b is None or torch.equal(a, b) for a, b in views)


@pytest.mark.parametrize(('num_workers', 'pieces'), [(0, 3), (1, 1)])
def test_a_worker_hands_on_a_batch_in_one_piece(digits_cfg, num_workers, pieces):
    loader = {**digits_cfg.train_dataloader, 'num_workers': num_workers, 'batch_size': 2}
    loader['persistent_workers'] = num_workers > 0
    loader['sampler'] = {**loader['sampler'], 'source_ratio': [1, 1]}
    batch = next(iter(Runner.build_dataloader(loader, seed=3)))
    views = [view for branch in batch['inputs'].values() for view in branch if view is not None]
    assert len(views) == 3
    assert len({view.untyped_storage().data_ptr() for view in views}) == pieces


def broken(dataset, *paths):
    """Let loading fail for some images of a source."""
    load = dataset.pipeline.transforms[0].transform

    def fail(results):
        if results['img_path'] in paths:
            raise BrokenImageError(results['img_path'], f'{results["img_path"]} is broken')
        return load(results)

    dataset.pipeline.transforms[0].transform = fail


def test_a_broken_unlabelled_image_is_replaced(sources):
    dataset = sources.datasets[1]
    paths = [dataset.get_data_info(i)['img_path'] for i in range(len(dataset))]
    broken(dataset, *paths[:-1])
    draw = Draw(2, (0, 1, 0))
    sample = sources[draw]
    strong = sample['data_samples']['strong']
    assert strong.img_path == paths[-1]
    assert strong.skipped[0] == paths[0]
    assert set(strong.skipped) <= set(paths[:-1])
    assert same(sources[draw], sample)


def repeated(source):
    return dict(type='RepeatDataset', dataset=source, times=2)


def mixed(source):
    """The views are made around the data set."""
    inner = dict(source, pipeline=source.pipeline[:1])
    return dict(type='MultiImageMixDataset', dataset=inner, pipeline=source.pipeline[1:])


@pytest.mark.parametrize('wrap', [repeated, mixed, lambda source: repeated(repeated(source))])
def test_sources_inside_of_others(digits_cfg, wrap):
    cfg = digits_cfg.train_dataloader.dataset
    cfg.datasets = [wrap(source) for source in cfg.datasets]
    sources = DATASETS.build(cfg)
    assert sources.num_unlabeled == len(sources.datasets[1])


def test_a_broken_image_inside_of_others_is_replaced(digits_cfg):
    cfg = digits_cfg.train_dataloader.dataset
    cfg.datasets[1] = repeated(cfg.datasets[1])
    sources = DATASETS.build(cfg)
    dataset = sources.datasets[1].dataset
    path = dataset.get_data_info(0)['img_path']
    broken(dataset, path)
    assert sources[Draw(2, (0, 1, 0))]['data_samples']['strong'].skipped[0] == path


def test_no_unlabelled_image_left(sources):
    dataset = sources.datasets[1]
    broken(dataset, *(dataset.get_data_info(i)['img_path'] for i in range(len(dataset))))
    with pytest.raises(BrokenImageError, match=r'\.png is broken'):
        sources[Draw(2, (0, 1, 0))]


def test_a_broken_labelled_image_stops(sources):
    path = sources.datasets[0].get_data_info(1)['img_path']
    broken(sources.datasets[0], path)
    sources[0]
    with pytest.raises(BrokenImageError, match=r'\.png is broken'):
        sources[1]


def run_with_broken(cfg, count, **settings):
    """Train with some broken unlabelled images; returns the hook and what was logged."""
    cfg.default_hooks.broken_images.update(settings)
    cfg.train_cfg.max_iters = 8
    runner = Runner.from_cfg(cfg)
    dataset = runner.train_dataloader.dataset.datasets[1]
    paths = [dataset.get_data_info(i)['img_path'] for i in range(count)]
    broken(dataset, *paths)
    hook = next(h for h in runner.hooks if isinstance(h, BrokenImagesHook))
    return runner, hook, paths


def test_broken_images_are_named_and_counted(digits_cfg):
    # 8 iterations draw each of the 18 images once.
    runner, hook, paths = run_with_broken(digits_cfg, 2, max_share=0.2)
    runner.train()
    assert sorted(hook.paths) == sorted(paths)
    log = next(Path(runner.log_dir).glob('*.log')).read_text()
    for path in paths:
        assert log.count(f'unlabelled image {path} is broken and was skipped') == 1
    assert '2 of 18 so far' in log
    # Both are remembered when the run is resumed.
    resumed = BrokenImagesHook()
    checkpoint = torch.load(f'{runner.work_dir}/iter_8.pth', weights_only=False)
    resumed.after_load_checkpoint(runner, checkpoint)
    assert resumed.paths == hook.paths
    # But not by a run that only starts from its weights.
    runner._train_loop._iter = 0
    resumed.before_train(runner)
    assert not resumed.paths


@pytest.mark.parametrize('burn_in', [0, 100])
def test_too_many_broken_images_stop_the_run(digits_cfg, burn_in):
    digits_cfg.default_hooks.teacher.burn_in = burn_in
    runner, _, _ = run_with_broken(digits_cfg, 4, max_share=0.1)
    message = r'2 of 18 .* are broken, more than 0.1 of .*check_data.* default_hooks.broken_'
    with pytest.raises(ValueError, match=message):
        runner.train()


def test_a_broken_image_of_an_odd_name_is_one_line(digits_cfg, monkeypatch):
    runner, hook, _ = run_with_broken(digits_cfg, 0, max_share=0.1)
    hook.before_train(runner)
    told = []
    monkeypatch.setattr(broken_images, 'print_log', lambda line, *_: told.append(line))
    hook._count('caf\udce9.png')
    assert told[0].startswith(r'unlabelled image caf\xe9.png is broken and was skipped; 1 of 18')
    with pytest.raises(
        ValueError, match=r'more than 0.1 of them; the last one is a\\nb.png; remove them'
    ):
        hook._count('a\nb.png')


@pytest.mark.parametrize('max_share', [-0.1, 1.1])
def test_a_share_out_of_range_is_refused(max_share):
    with pytest.raises(ValueError, match='max_share is .* must be in'):
        BrokenImagesHook(max_share)
