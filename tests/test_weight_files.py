"""Fetching weights, and putting their files into models."""

from pathlib import Path
from urllib.error import HTTPError, URLError

import pytest
import torch
from mmengine.model import BaseModule
from mmengine.model.weight_init import PretrainedInit
from torch import nn

from ssod.weight_files import fetch_weights, localize_checkpoints

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
    ('https://a.org/w.pth', 'https://a.org/w.pth', 'w.a774c708.pth', None),
    (
        'https://download.openmmlab.com/a/vgg.pth',
        'https://download.openmmlab.com/a/vgg.pth',
        'vgg.pth',
        None,
    ),
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


def test_weights_of_one_name_from_several_places(downloads: Downloads) -> None:
    urls = [f'https://{host}/iter_1000.pth?v={v}' for host in ('a.org', 'b.org') for v in (1, 2)]
    assert [fetch_weights(url).read_text() for url in urls] == urls


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
            'mmengine knows no weights of that name; did you mean torchvision://r',
        ),
        ('open-mmlab://?', r'weights open-mmlab://\?: mmengine knows no weights of that name$'),
        ('mmcls://resnet50', 'weights mmcls://resnet50: must be a local file, an http'),
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
    monkeypatch.setattr('ssod.weight_files.get_rank', lambda: 1)
    folder = Path(torch.hub.get_dir(), 'checkpoints')
    folder.mkdir(parents=True)
    # The first rank shares the disk: its file is there after the barrier.
    monkeypatch.setattr('ssod.weight_files.barrier', (folder / 'resnet50-0676ba61.pth').touch)
    fetch_weights(RESNET)
    assert downloads.calls == []
    # It is on another machine: this one has to download too.
    monkeypatch.setattr('ssod.weight_files.barrier', lambda: None)
    fetch_weights('https://a.org/w.pth')
    assert downloads.calls == [('https://a.org/w.pth', None)]


def test_localizes_every_checkpoint(tmp_path: Path, downloads: Downloads) -> None:
    file = tmp_path / 'w.pth'
    file.touch()
    here = {'type': 'Pretrained', 'checkpoint': str(file)}
    there = {'type': 'Pretrained', 'checkpoint': 'torchvision://resnet50', 'prefix': 'x'}
    # No weights of mmengine's initializer, or of a kind that it alone can open.
    kaiming = {'type': 'Kaiming', 'checkpoint': 'no weights'}
    other = {'type': 'Pretrained', 'checkpoint': 'mmcls://resnet50'}
    model = BaseModule(there)
    model.inner = BaseModule([kaiming, here, there])
    model.inner.head = BaseModule({**there, 'type': PretrainedInit})
    model.layer, model.other = nn.Linear(1, 1), BaseModule(other)
    localize_checkpoints(model)
    cached = str(tmp_path / 'hub' / 'checkpoints' / 'resnet50-0676ba61.pth')
    assert model.init_cfg == {**there, 'checkpoint': cached}
    assert model.inner.init_cfg == [kaiming, here, {**there, 'checkpoint': cached}]
    assert model.inner.head.init_cfg['checkpoint'] == cached
    assert model.other.init_cfg == other


def test_a_missing_checkpoint_is_named(downloads: Downloads) -> None:
    with pytest.raises(FileNotFoundError, match=r'nowhere/w\.pth'):
        localize_checkpoints(BaseModule({'type': 'Pretrained', 'checkpoint': 'nowhere/w.pth'}))
