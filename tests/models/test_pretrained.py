"""Tests of fetching weights, and of starting student and teacher from a detector's checkpoint."""

import copy
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar
from urllib.error import HTTPError, URLError

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.model import BaseModel, BaseModule
from mmengine.model.weight_init import PretrainedInit
from mmengine.runner import Runner
from torch import Tensor, nn

from ssod.models.pretrained import PretrainedDetectorHook, fetch_weights, localize_checkpoints

RESNET = 'https://download.pytorch.org/models/resnet50-0676ba61.pth'


class Downloads:
    """Stands for the network."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.calls: list[tuple[str, str | None]] = []

    def __call__(
        self, url: str, dst: str, hash_prefix: str | None = None, progress: bool = True
    ) -> None:
        self.calls.append((url, hash_prefix))
        if self.error is not None:
            raise self.error
        Path(dst).write_text(url)


@pytest.fixture
def downloads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Downloads:
    """A network that gives every file, and an empty cache in ``tmp_path``."""
    fake = Downloads()
    monkeypatch.setenv('TORCH_HOME', str(tmp_path))
    monkeypatch.setattr(torch.hub, 'download_url_to_file', fake)
    return fake


def test_local_files(tmp_path: Path, downloads: Downloads, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / 'w.pth'
    file.touch()
    assert fetch_weights(str(file)) == file
    monkeypatch.setenv('HOME', str(tmp_path))
    assert fetch_weights('~/w.pth') == file
    # A folder is no file.
    for missing in (tmp_path / 'v.pth', tmp_path):
        with pytest.raises(FileNotFoundError, match=f'^weights {missing}: the file does not exist'):
            fetch_weights(str(missing))
    assert downloads.calls == []


# The URL, the file's name, and the hash that it must have: only PyTorch's names are known to be it.
REFERENCES = [
    ('torchvision://resnet50', RESNET, 'resnet50-0676ba61.pth', '0676ba61'),
    (RESNET, RESNET, 'resnet50-0676ba61.pth', '0676ba61'),
    (
        'http://a.org/b/c-12345678.pth?d=e',
        'http://a.org/b/c-12345678.pth?d=e',
        'c-12345678.pth',
        None,
    ),
    ('https://a.org/w.pth', 'https://a.org/w.pth', 'w.pth', None),
]


@pytest.mark.parametrize(('reference', 'url', 'name', 'prefix'), REFERENCES)
def test_downloads_once_into_pytorchs_cache(
    tmp_path: Path, downloads: Downloads, reference: str, url: str, name: str, prefix: str | None
) -> None:
    for _ in range(2):
        path = fetch_weights(reference)
        assert path == tmp_path / 'hub' / 'checkpoints' / name
        assert path.read_text() == url
    assert downloads.calls == [(url, prefix)]


def test_openmmlabs_names(downloads: Downloads) -> None:
    paths = [
        fetch_weights(f'{scheme}://detectron2/resnet50_caffe')
        for scheme in ('open-mmlab', 'openmmlab')
    ]
    assert {path.name for path in paths} == {'resnet50_msra-5891d200.pth'}
    # A deprecated name leads to the same file as the new one.
    old = fetch_weights('open-mmlab://resnet50_caffe')
    assert old == fetch_weights('open-mmlab://detectron/resnet50_caffe')


def test_unknown_names(downloads: Downloads) -> None:
    tests = [
        (
            'torchvision://resnet51',
            'mmengine knows none of that name; did you mean torchvision://r',
        ),
        ('open-mmlab://?', r'weights open-mmlab://\?: mmengine knows none of that name$'),
        ('mmcls://resnet50', 'weights mmcls://resnet50: not a local file, an http'),
    ]
    for reference, message in tests:
        with pytest.raises(ValueError, match=message):
            fetch_weights(reference)
    assert downloads.calls == []


@pytest.mark.parametrize(
    ('error', 'reason'),
    [
        (URLError('no\nnetwork'), '<urlopen error no network>'),
        (HTTPError(RESNET, 404, 'Not Found', None, None), 'HTTP Error 404: Not Found'),
        # What PyTorch raises for a broken download.
        (RuntimeError('invalid hash value'), 'invalid hash value'),
        (TimeoutError('timed out'), 'timed out'),
    ],
)
def test_a_failed_download_says_where_from_and_where_to(
    tmp_path: Path, downloads: Downloads, error: Exception, reason: str
) -> None:
    downloads.error = error
    with pytest.raises(ConnectionError) as caught:
        fetch_weights('torchvision://resnet50')
    path = tmp_path / 'hub' / 'checkpoints' / 'resnet50-0676ba61.pth'
    assert str(caught.value) == (
        f'cannot download {RESNET} ({reason}): put the file at {path} and run again'
    )
    # And so it is.
    path.touch()
    assert fetch_weights('torchvision://resnet50') == path


def test_other_ranks_wait_for_the_first(
    downloads: Downloads, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr('ssod.models.pretrained.get_rank', lambda: 1)
    folder = Path(torch.hub.get_dir(), 'checkpoints')
    folder.mkdir(parents=True)
    # The first rank shares the disk: its file is there after the barrier.
    monkeypatch.setattr('ssod.models.pretrained.barrier', (folder / 'resnet50-0676ba61.pth').touch)
    fetch_weights(RESNET)
    assert downloads.calls == []
    # It is on another machine: this one has to download too.
    monkeypatch.setattr('ssod.models.pretrained.barrier', lambda: None)
    fetch_weights('https://a.org/w.pth')
    assert downloads.calls == [('https://a.org/w.pth', None)]


def test_localizes_every_checkpoint_of_a_config(tmp_path: Path, downloads: Downloads) -> None:
    file = tmp_path / 'w.pth'
    file.touch()
    here = {'type': 'Pretrained', 'checkpoint': str(file)}
    there = {'type': 'Pretrained', 'checkpoint': 'torchvision://resnet50', 'prefix': 'x'}
    cfg = ConfigDict(
        backbone={'type': 'ResNet', 'init_cfg': there},
        neck=[{'init_cfg': [{'type': 'Kaiming', 'checkpoint': 'no weights'}, here, there]}],
        head=({'init_cfg': {**there, 'type': PretrainedInit}},),
        # No weights of mmengine's initializer, or of a kind that it alone can open.
        other={'type': 'Other', 'checkpoint': 'nowhere'},
        classifier={'init_cfg': {'type': 'Pretrained', 'checkpoint': 'mmcls://resnet50'}},
    )
    before = copy.deepcopy(cfg)
    found = localize_checkpoints(cfg)
    assert cfg == before
    cached = str(tmp_path / 'hub' / 'checkpoints' / 'resnet50-0676ba61.pth')
    assert found.backbone.init_cfg == {**there, 'checkpoint': cached}
    assert found.neck[0].init_cfg[:2] == cfg.neck[0].init_cfg[:2]
    assert found.neck[0].init_cfg[2].checkpoint == cached
    assert found['head'][0]['init_cfg']['checkpoint'] == cached
    assert found.other == cfg.other
    assert found.classifier == cfg.classifier
    assert localize_checkpoints({}) == {}


def test_localizes_every_checkpoint_of_a_built_model(tmp_path: Path, downloads: Downloads) -> None:
    model = BaseModule()
    model.inner = BaseModule({'type': 'Pretrained', 'checkpoint': 'https://a.org/w.pth'})
    model.layer = nn.Linear(1, 1)
    assert localize_checkpoints(model) is model
    assert model.inner.init_cfg['checkpoint'] == str(tmp_path / 'hub' / 'checkpoints' / 'w.pth')


def test_a_missing_checkpoint_is_named(downloads: Downloads) -> None:
    with pytest.raises(FileNotFoundError, match=r'nowhere/w\.pth'):
        localize_checkpoints({'init_cfg': {'type': 'Pretrained', 'checkpoint': 'nowhere/w.pth'}})


class Detector(nn.Module):
    """Three tensors: a body, a class head and one that checkpoints lack."""

    def __init__(self, value: float, classes: int = 3) -> None:
        super().__init__()
        self.body = nn.Parameter(torch.full((1,), value))
        self.bbox_head = nn.ModuleDict({'conv_cls': nn.Linear(1, classes, bias=False)})
        self.bbox_head['conv_cls'].weight.data.fill_(value)
        self.extra = nn.Parameter(torch.full((1,), value))


class Pair(BaseModel):
    """A student and a teacher that were initialized differently."""

    def __init__(self) -> None:
        super().__init__()
        self.student, self.teacher = Detector(50.0), Detector(60.0)

    def forward(self, inputs: Tensor, data_samples: Any = None, mode: str = 'loss') -> Any:
        return {'loss': 0 * self.student.body.sum()}

    def numbers(self) -> dict[str, list[float]]:
        return {key: value.flatten().tolist() for key, value in self.state_dict().items()}


class Images(torch.utils.data.Dataset[dict[str, Tensor]]):
    """Data with class names."""

    metainfo: ClassVar = {'classes': ('dog', 'bird', 'cat')}

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {'inputs': torch.zeros(1)}


TENSORS = {
    'body': torch.tensor([5.0]),
    'bbox_head.conv_cls.weight': torch.tensor([[1.0], [2.0]]),
}
NAMED = {'meta': {'dataset_meta': {'classes': ('cat', 'dog')}}}
ADAPTED = {'body': [5.0], 'bbox_head.conv_cls.weight': [2.0, 50, 1], 'extra': [50.0]}
LACKING = (
    "pretrained detector: 1 of the model's 3 tensors are not in the checkpoint and start anew "
    '(extra the first)'
)


class Log(list[str]):
    """A logger that remembers."""

    info = list.append


def runner(model: nn.Module) -> Any:
    """As much of a runner as the hook looks at before any loop was built."""
    return SimpleNamespace(model=model, logger=Log(), _train_loop={'type': 'EpochBasedTrainLoop'})


def test_a_run_starts_both_from_a_plain_checkpoint(tmp_path: Path) -> None:
    file = tmp_path / 'detector.pth'
    torch.save({'state_dict': TENSORS, **NAMED}, file)
    model = Pair()
    run = Runner(
        model=model,
        work_dir=str(tmp_path),
        train_dataloader={
            'dataset': Images(),
            'batch_size': 1,
            'sampler': {'type': 'DefaultSampler', 'shuffle': False},
        },
        train_cfg={'by_epoch': False, 'max_iters': 1},
        optim_wrapper={'optimizer': {'type': 'SGD', 'lr': 0.0}},
        custom_hooks=[{'type': 'PretrainedDetectorHook'}],
        default_hooks={'checkpoint': None},
        load_from=str(file),
        default_scope='mmdet',
        experiment_name='test_a_run_starts_both_from_a_plain_checkpoint',
    )
    run.train()
    # What the checkpoint lacks is the student's on both sides, for both are to start the same.
    assert model.numbers() == {
        branch + key: value for branch in ('student.', 'teacher.') for key, value in ADAPTED.items()
    }
    log = next(tmp_path.glob('*/*.log')).read_text()
    assert '2 of 3 classes found in the checkpoint (dog, cat), 1 start anew' in log
    assert LACKING in log


# Where older and newer checkpoints have their tensors; without the class names the head is lost.
@pytest.mark.parametrize(
    'checkpoint',
    [
        {'state_dict': TENSORS},
        {'state_dict': {f'module.{key}': value for key, value in TENSORS.items()}, 'meta': None},
        dict(TENSORS),
    ],
)
def test_forms_of_checkpoints(checkpoint: dict[str, Any]) -> None:
    # In a distributed run the model is wrapped.
    run = runner(nn.DataParallel(Pair()))
    PretrainedDetectorHook().after_load_checkpoint(run, checkpoint)
    assert set(checkpoint) - {'meta'} == {'state_dict'}
    assert {key: value.flatten().tolist() for key, value in checkpoint['state_dict'].items()} == {
        branch + key: value
        for branch in ('student.', 'teacher.')
        for key, value in {**ADAPTED, 'bbox_head.conv_cls.weight': [50.0, 50, 50]}.items()
    }
    assert run.logger == [
        'pretrained detector: dropped bbox_head.conv_cls.weight: (2, 1) in the checkpoint, '
        '(3, 1) in the model, which starts anew',
        LACKING,
    ]


def pair_checkpoint(classes: tuple[str, ...]) -> dict[str, Any]:
    """As a run saves it, with a teacher that differs from the student."""
    tensors = {f'student.{k}': v for k, v in Detector(1.0, len(classes)).state_dict().items()}
    tensors |= {f'teacher.{k}': v for k, v in Detector(2.0, len(classes)).state_dict().items()}
    for branch in ('student', 'teacher'):
        rows = tensors[f'{branch}.bbox_head.conv_cls.weight']
        rows += torch.arange(len(classes)).view(-1, 1)
    return {'state_dict': {**tensors, 'memory': torch.ones(1)}, **meta_of(classes)}


def meta_of(classes: tuple[str, ...]) -> dict[str, Any]:
    return {'meta': {'dataset_meta': {'classes': classes}}}


def running(part: str, tmp_path: Path, resume: bool = False) -> Any:
    """A runner whose loop of one part was built."""
    loader = {'dataset': Images(), 'sampler': {'type': 'DefaultSampler', 'shuffle': False}}
    loop = {
        'train': {'by_epoch': False, 'max_iters': 1},
        'test': {},
    }[part]
    settings: dict[str, Any] = {f'{part}_dataloader': {**loader, 'batch_size': 1}}
    settings[f'{part}_cfg'] = loop
    if part == 'train':
        settings['optim_wrapper'] = {'optimizer': {'type': 'SGD', 'lr': 0.0}}
    else:
        settings['test_evaluator'] = []
    run = Runner(
        model=Pair(),
        work_dir=str(tmp_path),
        default_scope='mmdet',
        experiment_name=f'{part} {resume} {tmp_path}',
        resume=resume,
        **settings,
    )
    setattr(run, f'_{part}_loop', getattr(run, f'build_{part}_loop')(getattr(run, f'_{part}_loop')))
    return run


@pytest.mark.parametrize(('part', 'resume'), [('train', False), ('train', True), ('test', False)])
def test_a_pairs_own_checkpoint_is_left_alone(part: str, resume: bool, tmp_path: Path) -> None:
    checkpoint = pair_checkpoint(('dog', 'bird', 'cat'))
    tensors = checkpoint['state_dict']
    before = dict(tensors)
    PretrainedDetectorHook().after_load_checkpoint(running(part, tmp_path, resume), checkpoint)
    assert checkpoint['state_dict'] is tensors
    assert tensors == before


@pytest.mark.parametrize('part', ['train', 'test'])
def test_a_pairs_class_heads_follow_the_names(part: str, tmp_path: Path) -> None:
    # Of the same shape: nothing else would tell that dogs are called cats.
    checkpoint = pair_checkpoint(('cat', 'dog', 'bird'))
    PretrainedDetectorHook().after_load_checkpoint(running(part, tmp_path), checkpoint)
    rows = {
        branch: checkpoint['state_dict'][f'{branch}.bbox_head.conv_cls.weight'].flatten().tolist()
        for branch in ('student', 'teacher')
    }
    # dog, bird, cat
    assert rows == {'student': [2, 3, 1], 'teacher': [3, 4, 2]}
    assert 'memory' in checkpoint['state_dict']


@pytest.mark.parametrize(
    ('checkpoint', 'part', 'resume', 'message'),
    [
        # The optimizer's memory would be of other classes.
        (
            pair_checkpoint(('cat', 'dog', 'bird')),
            'train',
            True,
            'not of this model: student: class head adapted: 3 of 3',
        ),
        # Scored with what was never trained, it would be 0 mAP.
        (pair_checkpoint(('a', 'b')), 'test', False, 'head adapted: 0 of 3 classes found'),
        ({'state_dict': TENSORS, **NAMED}, 'test', False, r'\(extra the first\); take the config'),
        (
            {'state_dict': {'teacher.body': torch.ones(1)}},
            'train',
            True,
            'not of this model: it has no student, teacher: 2 of',
        ),
    ],
)
def test_a_checkpoint_that_must_fit(
    checkpoint: dict[str, Any], part: str, resume: bool, message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        PretrainedDetectorHook().after_load_checkpoint(
            running(part, tmp_path, resume), copy.deepcopy(checkpoint)
        )


def test_models_without_a_student_are_left_alone() -> None:
    checkpoint = {'state_dict': dict(TENSORS)}
    PretrainedDetectorHook().after_load_checkpoint(runner(Detector(0.0)), checkpoint)
    assert list(checkpoint['state_dict']) == list(TENSORS)


def test_a_checkpoint_of_something_else_is_refused() -> None:
    # A torchvision file as load_from, for example.
    checkpoint = {'conv1.weight': torch.ones(64, 3, 7, 7)}
    with pytest.raises(ValueError, match=r'not of this kind of detector.*checkpoint conv1\.weight'):
        PretrainedDetectorHook().after_load_checkpoint(runner(Pair()), checkpoint)


@pytest.mark.parametrize(
    'meta',
    [
        {'dataset_meta': {'classes': ('cat', 'dog')}},
        {'dataset_meta': {'CLASSES': ['cat', 'dog']}},
        {'CLASSES': ('cat', 'dog')},  # mmdet 2
        {'dataset_meta': None, 'CLASSES': ('cat', 'dog')},
    ],
)
def test_where_checkpoints_name_their_classes(meta: dict[str, Any], tmp_path: Path) -> None:
    run = running('train', tmp_path)
    checkpoint = {'state_dict': {**TENSORS, 'extra': torch.ones(1)}, 'meta': meta}
    PretrainedDetectorHook().after_load_checkpoint(run, checkpoint)
    weight = checkpoint['state_dict']['teacher.bbox_head.conv_cls.weight']
    assert weight.flatten().tolist() == [2, 50, 1]
