"""Starting student and teacher from a detector's checkpoint, or from a pair's own."""

import copy
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
import torch
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import Tensor, nn

from ssod.models.pretrained import PretrainedDetectorHook


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
    "pretrained detector: 1 of the model's 3 tensors are not in the checkpoint and keep their "
    'initial values (first: extra)'
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
    assert '2 of 3 classes found in the checkpoint (dog, cat), 1 new' in log
    assert LACKING in log


# Where older and newer checkpoints have their tensors; without the class names the head is lost.
@pytest.mark.parametrize(
    'checkpoint',
    [
        {'state_dict': TENSORS},
        {'state_dict': {f'module.{key}': value for key, value in TENSORS.items()}, 'meta': None},
        {'state_dict': {**TENSORS, 'data_preprocessor.mean': torch.ones(3)}, 'meta': 'by hand'},
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
        'pretrained detector: dropped bbox_head.conv_cls.weight: shape (2, 1) in the '
        'checkpoint, (3, 1) in the model, which keeps its initial values',
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
        ({'state_dict': TENSORS, **NAMED}, 'test', False, r'\(first: extra\); use the config'),
        ({'state_dict': TENSORS, **NAMED}, 'train', True, 'is of a plain detector, from which a r'),
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


class VerifiedPair(Pair):
    """One with something that is neither the student's nor the teacher's."""

    def __init__(self) -> None:
        super().__init__()
        self.verifier = nn.Linear(1, 3, bias=False)
        self.verifier.weight.data.fill_(7.0)


def five_classes() -> Pair:
    pair = VerifiedPair()
    pair.verifier = nn.Linear(1, 5, bias=False)
    return pair


# What a checkpoint of a verified or a plain pair brings to the other.
@pytest.mark.parametrize(
    ('source', 'target', 'told'),
    [
        (Pair, VerifiedPair, 'it has no verifier'),
        (VerifiedPair, Pair, 'it has a verifier'),
        (five_classes, VerifiedPair, 'it has another verifier'),
        (VerifiedPair, VerifiedPair, None),
    ],
)
def test_a_verifier_goes_on_with_a_resumed_run_alone(
    source: Callable[[], Pair], target: type[Pair], told: str | None
) -> None:
    checkpoint = {'state_dict': {k: v + 1 for k, v in source().state_dict().items()}}
    run = runner(target())
    PretrainedDetectorHook().after_load_checkpoint(run, checkpoint)
    state = checkpoint['state_dict']
    assert state.keys() == run.model.state_dict().keys()
    assert state['student.body'].item() == 51
    assert state['teacher.body'].item() == 61
    # It has not learnt anything yet, and is left as it began, which is nothing to tell.
    assert 'verifier.weight' not in state or state['verifier.weight'].eq(7.0).all()
    assert run.logger == []
    # A run does not go on with another model than it began with.
    run._resume = True
    checkpoint = {'state_dict': {k: v + 1 for k, v in source().state_dict().items()}}
    if told is None:
        PretrainedDetectorHook().after_load_checkpoint(run, checkpoint)
        assert checkpoint['state_dict']['verifier.weight'].eq(8.0).all()
        return
    with pytest.raises(ValueError, match=told):
        PretrainedDetectorHook().after_load_checkpoint(run, checkpoint)


def test_a_plain_detector_leaves_the_verifier_as_it_began() -> None:
    checkpoint = {'state_dict': dict(TENSORS)}
    run = runner(VerifiedPair())
    PretrainedDetectorHook().after_load_checkpoint(run, checkpoint)
    # Nothing is missing, of which mmengine would tell.
    assert checkpoint['state_dict'].keys() >= run.model.state_dict().keys()
    assert checkpoint['state_dict']['verifier.weight'].eq(7.0).all()


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
