"""Where pretrained weights come from: files, downloads and whole detectors' checkpoints."""

import copy
import difflib
import http.client
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import torch
from mmdet.registry import HOOKS
from mmengine.dist import barrier, get_rank
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.model.weight_init import PretrainedInit
from mmengine.runner import BaseLoop, Runner
from mmengine.runner.checkpoint import (
    get_deprecated_model_names,
    get_external_models,
    get_torchvision_models,
)
from torch import nn

from ssod.models.class_rows import adapt_detector_checkpoint
from ssod.strict import strict_settings

__all__ = [
    'PretrainedDetectorHook',
    'adapt_detector_checkpoint',
    'fetch_weights',
    'localize_checkpoints',
]


def fetch_weights(reference: str) -> Path:
    """The local file of some weights, downloaded if it is not there yet.

    Downloads go where PyTorch keeps its own, ``checkpoints`` in ``torch.hub.get_dir()``, under the
    name that the URL has; an unfinished one never bears that name. In a distributed run rank 0
    downloads first.

    Args:
        reference: A local path, a URL (``http://`` or ``https://``), ``torchvision://resnet50`` or
            ``open-mmlab://`` with one of mmengine's names.

    Raises:
        FileNotFoundError: If a local file does not exist.
        ConnectionError: If it cannot be downloaded; says where from and where to put the file.
        ValueError: If the name or the kind of reference is unknown.
    """
    source = _resolve(reference)
    if source is None:
        raise ValueError(
            f'weights {reference}: not a local file, an http(s) URL, torchvision:// or '
            f'open-mmlab://'
        )
    if not source.startswith(('http://', 'https://')):
        path = Path(source).expanduser()
        if not path.is_file():
            raise FileNotFoundError(f'weights {reference}: the file does not exist')
        return path
    path = Path(torch.hub.get_dir(), 'checkpoints', Path(urlparse(source).path).name)
    failure = None
    if get_rank() == 0 and not path.is_file():
        failure = _download(source, path)
    barrier()
    if failure is None and not path.is_file():  # Another machine with a disk of its own.
        failure = _download(source, path)
    if failure is not None:
        raise ConnectionError(
            f'cannot download {source} ({failure}): put the file at {path} and run again'
        )
    return path


def localize_checkpoints(model: Any) -> Any:
    """Fetch all pretrained weights that a model asks for, so that what is missing is known at once.

    Every ``init_cfg=dict(type='Pretrained', checkpoint=...)`` counts, at any depth. References of
    kinds that mmengine alone can open (such as ``mmcls://``) stay as they are.

    Args:
        model: A model's config, or a model that was built but not initialized.

    Returns:
        Of a config, a copy that names the local files; a built model itself, which now names them.

    Raises:
        OSError: If weights do not exist or cannot be downloaded (:func:`fetch_weights`).
        ValueError: If a name of weights is unknown.
    """
    if isinstance(model, nn.Module):
        for module in model.modules():
            _localize(getattr(module, 'init_cfg', None))
        return model
    cfg = copy.deepcopy(model)
    _localize(cfg)
    return cfg


@HOOKS.register_module()
@strict_settings
class PretrainedDetectorHook(Hook):
    """Start student and teacher from a plain detector's checkpoint (``load_from``).

    The checkpoint is one of mmdet as it is; a class head for other classes is adapted
    (:func:`~ssod.models.class_rows.adapt_detector_checkpoint`), and what the checkpoint does not
    have, both take from the student. Checkpoints of a student and a teacher are left alone, and so
    are runs whose model has no student.
    """

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Rewrite a plain detector's checkpoint before it goes into the model.

        Raises:
            ValueError: If the checkpoint is of another kind of detector.
        """
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        given = checkpoint.get('state_dict', checkpoint)
        given = {key.removeprefix('module.'): value for key, value in given.items()}
        if not hasattr(model, 'student') or any(k.startswith(_BRANCHES) for k in given):
            return
        student = model.student.state_dict()
        adapted, messages = adapt_detector_checkpoint(
            given, student, _classes_of(checkpoint.get('meta')), _classes_of_run(runner)
        )
        for message in messages:
            runner.logger.info(f'pretrained detector: {message}')
        if 'state_dict' not in checkpoint:
            checkpoint.clear()
        checkpoint['state_dict'] = {
            branch + key: adapted.get(key, value)
            for branch in _BRANCHES
            for key, value in student.items()
        }


_BRANCHES = ('student.', 'teacher.')


def _resolve(reference: str) -> str | None:
    """The URL or local path that a reference stands for; None if only mmengine can open it."""
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
        raise ValueError(f'weights {reference}: mmengine knows none of that name{hint}')
    return str(urls[name])


def _download(url: str, path: Path) -> str | None:
    """Download a file, aside and then renamed; the reason if that fails."""
    # PyTorch's own files carry the start of their hash, which shows a broken download.
    match = re.search(r'-([0-9a-f]{8})\.pth$', path.name)
    prefix = match[1] if match and urlparse(url).hostname == 'download.pytorch.org' else None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(path), prefix, progress=sys.stderr.isatty())
    except (OSError, RuntimeError, http.client.HTTPException) as error:
        return ' '.join(str(error).split())
    return None


def _localize(node: Any) -> None:
    """Replace references to weights by local paths, in place."""
    if isinstance(node, dict):
        reference = node.get('checkpoint')
        pretrained = node.get('type') in ('Pretrained', PretrainedInit)
        if pretrained and isinstance(reference, str) and _resolve(reference) is not None:
            node['checkpoint'] = str(fetch_weights(reference))
        for value in node.values():
            _localize(value)
    elif isinstance(node, list | tuple):
        for value in node:
            _localize(value)


def _classes_of(meta: Mapping[str, Any] | None) -> tuple[str, ...] | None:
    """Class names in the ``meta`` of a checkpoint, of mmdet 3 or older, or in a data set's."""
    meta = meta or {}
    for known in (meta.get('dataset_meta') or {}, meta):
        for key in ('classes', 'CLASSES'):
            if known.get(key):
                return tuple(known[key])
    return None


def _classes_of_run(runner: Runner) -> tuple[str, ...] | None:
    """Class names of the run's data, from the loop that is about to run."""
    for name in ('_train_loop', '_val_loop', '_test_loop'):
        loop = getattr(runner, name, None)
        # A loop that is still a config is not the one that runs, and asking would build its data.
        if isinstance(loop, BaseLoop):
            return _classes_of(getattr(loop.dataloader.dataset, 'metainfo', None))
    return None
