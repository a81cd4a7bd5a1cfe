"""Settings and checkpoints that are wrong, and the line that each gets in ``test_bad_input.py``."""

import json
from types import SimpleNamespace

from mmdet.registry import DATA_SAMPLERS, DATASETS, TRANSFORMS
from mmengine.runner import BaseLoop
from torch import nn

from ssod.models.pretrained import PretrainedDetectorHook


def setting(where, value):
    return lambda w: w.cfg.merge_from_dict({where: value})


def other_ids(w):
    """Score against a file that has other images."""
    w.val['images'][1]['id'] = w.val['annotations'][1]['image_id'] = 7
    w.cfg.val_evaluator.ann_file = str(w.root / 'labeled.json')


def other_order(w):
    """Score against a file in which dogs come first."""
    content = {**w.val, 'categories': w.val['categories'][::-1]}
    (w.root / 'scored.json').write_text(json.dumps(content))
    w.cfg.val_evaluator.ann_file = str(w.root / 'scored.json')


def build(registry, **cfg):
    return lambda w: registry.build(cfg)


def sampler(ratio, batch_size):
    def build(w):
        sources = SimpleNamespace(cumulative_sizes=[3, 7])
        cfg = dict(type='SourceRatioSampler', source_ratio=ratio, seed=0, dataset=sources)
        DATA_SAMPLERS.build(cfg).use_batch_size(batch_size)

    return build


class Loop(BaseLoop):
    """The loop of a run whose data have cats and dogs."""

    def __init__(self):
        dataset = SimpleNamespace(metainfo={'classes': ('cat', 'dog')})
        self._dataloader = SimpleNamespace(dataset=dataset)

    @property
    def dataloader(self):
        return self._dataloader

    def run(self):
        raise NotImplementedError


class Detector(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Linear(1, 1)
        self.bbox_head = nn.ModuleDict({'fc_cls': nn.Linear(1, 3)})


def load(classes, kind=Detector, resume=False):
    """Load the checkpoint of another run into student and teacher of cats and dogs."""

    def damage(w):
        pair = nn.ModuleDict({'student': Detector(), 'teacher': Detector()})
        other = nn.ModuleDict({'student': kind(), 'teacher': kind()})
        loop = 'train' if resume else 'test'
        run = SimpleNamespace(model=pair, _resume=resume, **{f'_{loop}_loop': Loop()})
        meta = {'dataset_meta': {'classes': classes}}
        checkpoint = {'state_dict': other.state_dict(), 'meta': meta}
        PretrainedDetectorHook().after_load_checkpoint(run, checkpoint)

    return damage


# fmt: off
BAD_SETTINGS = [
    # --- Settings of the data.
    # A comma is missing: ('cat') is a text, in which 'c', 'a' and 't' would be classes.
    (lambda w: w.sources[0].metainfo.update(classes='cat'), 'json',
     "error: train_dataloader.dataset.datasets[0].metainfo.classes: is the text 'cat', but must"
     " be"),
    (lambda w: w.cfg.val_dataloader.dataset.metainfo.update(classes=('dog', 'cat')), 'json',
     'error: val.json: has the categories in the order cat, dog, but the classes are dog, cat;'
     ' mmdet uses'),
    (lambda w: w.sources[1].metainfo.update(classes=('cat',)), 'json',
     'error: train_dataloader.dataset.datasets[1].metainfo.classes: has cat, but'),
    (setting('model.detector.roi_head.bbox_head.num_classes', 80), 'json',
     'error: model.detector.roi_head.bbox_head.num_classes: is 80, but the data have 2 classes'),
    (lambda w: w.sources[0].pop('data_prefix'), 'json',
     "error: train_dataloader.dataset.datasets[0].data_prefix: has no 'img'; set it to the"
     " images'"),
    (lambda w: w.sources[1].update(filter_cfg=dict(filter_empty_gt=True)), 'json',
     'error: train_dataloader.dataset.datasets[1].filter_cfg.filter_empty_gt: is set, which'),
    (lambda w: w.sources[0].update(type='CocoDatset'), 'json',
     "error: train_dataloader.dataset.datasets[0].type: no data set is called 'CocoDatset'; did"),
    # The wrong file gives 0 mAP.
    (setting('val_evaluator.ann_file', 'no/such.json'), 'json',
     'error: no/such.json: does not exist; see data/README.md for what goes where'),
    (other_order, 'json',
     'error: scored.json: has the categories in the order dog, cat, but the classes are cat, dog;'
     ' mmdet uses'),
    (other_ids, 'json',
     'error: labeled.json: has no image with the id 7, but val.json has; set'
     ' val_evaluator.ann_file to the'),
    # --- Names in a config.
    (lambda w: setattr(w.cfg, 'trian_cfg', {}), 'json',
     "error: mine.py: unknown setting 'trian_cfg'; did you mean 'train_cfg'? If it is your own,"
     " give"),
    (build(TRANSFORMS, type='LoadImage', backend={}), 'build',
     "error: LoadImage: unknown setting 'backend'; did you mean 'backend_args'?"),
    # Not of ours, but as clear.
    (build(DATASETS, type='CocoDataset', anfile='x'), 'build',
     "error: CocoDataset: unknown setting 'anfile'; did you mean 'ann_file'?"),
    (build(TRANSFORMS, type='RandomFlop'), 'build',
     "error: config: there is no transform called 'RandomFlop'; did you mean 'RandomFlip'?"),
    # --- Batches.
    (sampler([1, 3], batch_size=6), 'build',
     'error: batch_size=6 does not fit source_ratio=[1, 3]: it must be a multiple of 4, such as 4'),
    (sampler([1], batch_size=4), 'build',
     'error: SourceRatioSampler: source_ratio=[1] has 1 numbers for 2 data sets; give one for'),
    (sampler([0, 4], batch_size=4), 'build',
     'error: SourceRatioSampler: source_ratio=[0, 4] must be whole numbers of at least 1; leave a'),
    # --- Views whose geometry cannot be followed.
    (build(TRANSFORMS, type='TwoViews', strong=[dict(type='RandomAffine')]), 'build',
     'error: strong view: RandomAffine moves boxes by 15 pixels without recording it in'),
    (build(TRANSFORMS, type='TwoViews', weak=[dict(type='Mosaic')]), 'build',
     'error: weak view: Mosaic mixes in other images, which no matrix can record; use Resize,'),
    # --- Checkpoints.
    (load(('cat', 'dog'), kind=lambda: nn.Linear(1, 2)), 'build',
     "error: the checkpoint is not of this kind of detector: it has only 0 of the model's 4 tensors"
     " with the same name and shape"),
    # Scored with the rest as it was initialized, it would be 0 mAP.
    (load(('cat', 'cow')), 'build',
     'error: the checkpoint is not of this model: student: class head adapted: 1 of 2 classes'),
    (load(('dog', 'cat'), resume=True), 'build',
     'error: the checkpoint is not of this model: student: class head adapted: 2 of 2 classes'),
]
# fmt: on
