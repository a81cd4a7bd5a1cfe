"""Files of pretrained weights: where they are downloaded to, and which ones a model names."""

import difflib
import hashlib
import http.client
import re
import sys
from pathlib import Path, PurePath
from typing import Any
from urllib.parse import urlparse

import torch
from mmengine.dist import barrier, get_rank
from mmengine.model.weight_init import PretrainedInit
from mmengine.runner.checkpoint import (
    get_deprecated_model_names,
    get_external_models,
    get_torchvision_models,
)
from torch import nn

from ssod.config_parts import dicts_in

PUBLISHERS = ('download.openmmlab.com', 'download.pytorch.org', 'mmassets.onedl.ai')
"""Hosts on which no two files of weights have the same name."""


def fetch_weights(reference: str) -> Path:
    """The local file of some weights, downloaded if it is not there yet.

    Downloads go to PyTorch's own cache, ``checkpoints`` in ``torch.hub.get_dir()``, under the name
    in the URL, plus a hash of the URL where other weights may have the same name. An unfinished
    download never has that name, so several processes may download at once. In a process group,
    rank 0 downloads first.

    Args:
        reference: A local path, a URL (``http://`` or ``https://``), ``torchvision://resnet50`` or
            ``open-mmlab://`` with one of mmengine's names.

    Raises:
        FileNotFoundError: If a local file does not exist.
        ConnectionError: If it cannot be downloaded; names the URL and where to put the file.
        ValueError: If the name or the kind of reference is unknown.
    """
    source = _resolve(reference)
    if source is None:
        raise ValueError(
            f'weights {reference}: must be a local file, an http(s) URL, torchvision://... or '
            f'open-mmlab://...'
        )
    if not source.startswith(('http://', 'https://')):
        path = Path(source).expanduser()
        if not path.is_file():
            raise FileNotFoundError(f'weights {reference}: the file does not exist')
        return path
    path = Path(torch.hub.get_dir(), 'checkpoints', _cached_name(source))
    failure = None
    if get_rank() == 0 and not path.is_file():
        failure = _download(source, path)
    barrier()
    if failure is None and not path.is_file():  # On another machine with its own disk.
        failure = _download(source, path)
    if failure is not None:
        raise ConnectionError(
            f'cannot download {source} ({failure}): put the file at {path} and run again'
        )
    return path


def localize_checkpoints(model: nn.Module) -> None:
    """Fetch all pretrained weights that a model names, so that missing ones are reported early.

    This covers every ``init_cfg=dict(type='Pretrained', checkpoint=...)`` at any depth. References
    that only mmengine can open (such as ``mmcls://``) stay as they are.

    Args:
        model: Built but not initialized; afterwards it names the local files.

    Raises:
        OSError: If weights do not exist or cannot be downloaded (:func:`fetch_weights`).
        ValueError: If the weights have an unknown name.
    """
    for part in dicts_in([getattr(module, 'init_cfg', None) for module in model.modules()]):
        reference = part.get('checkpoint')
        pretrained = part.get('type') in ('Pretrained', PretrainedInit)
        if pretrained and isinstance(reference, str) and _resolve(reference) is not None:
            part['checkpoint'] = str(fetch_weights(reference))


def named_weights(cfg: Any) -> str | None:
    """The pretrained weights that the config of a model or a part names; ``None`` if none."""
    for part in dicts_in(cfg):
        if part.get('type') == 'Pretrained' and part.get('checkpoint'):
            return str(part['checkpoint'])
        if part.get('type') == 'TorchvisionBackbone' and part.get('weights'):
            return f'{part["arch"]} {part["weights"]} of torchvision'
    return None


def _resolve(reference: str) -> str | None:
    """The URL or local path of a reference; ``None`` if only mmengine can open it."""
    scheme, separator, name = reference.partition('://')
    if not separator or scheme in ('http', 'https'):
        return reference
    if scheme in ('torchvision', 'modelzoo'):
        urls = get_torchvision_models()
    elif scheme in ('open-mmlab', 'openmmlab'):
        urls = get_external_models()
        name = get_deprecated_model_names().get(name, name)
    else:
        return None
    if name not in urls:
        near = difflib.get_close_matches(name, urls, n=1)
        hint = f'; did you mean {scheme}://{near[0]}?' if near else ''
        raise ValueError(f'weights {reference}: mmengine knows no weights of that name{hint}')
    return str(urls[name])


def _cached_name(url: str) -> str:
    """File name of a download: as in its URL, if no other weights can have that name."""
    parsed = urlparse(url)
    name = PurePath(parsed.path)
    if parsed.hostname in PUBLISHERS or re.search(r'-[0-9a-f]{8,}$', name.stem):
        return name.name
    return f'{name.stem}.{hashlib.sha256(url.encode()).hexdigest()[:8]}{name.suffix}'


def _download(url: str, path: Path) -> str | None:
    """Download to a temporary file and rename it; returns the reason if that fails."""
    # PyTorch's own file names hold the start of the hash, which reveals a broken download.
    match = re.search(r'-([0-9a-f]{8})\.pth$', path.name)
    prefix = match[1] if match and urlparse(url).hostname == 'download.pytorch.org' else None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(path), prefix, progress=sys.stderr.isatty())
    except (OSError, RuntimeError, http.client.HTTPException) as error:
        return ' '.join(str(error).split())
    return None
