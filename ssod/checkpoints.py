"""Checkpoints that are complete, survive a full disk, and execute nothing when read."""

import importlib
import logging
import pickle
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from textwrap import shorten
from typing import Any

import numpy as np
import torch
from mmdet.registry import HOOKS, MODELS
from mmengine.dist import is_main_process
from mmengine.fileio import LocalBackend, register_backend
from mmengine.hooks import CheckpointHook
from mmengine.logging import HistoryBuffer, MMLogger, print_log
from mmengine.registry import init_default_scope
from mmengine.runner import CheckpointLoader, Runner, save_checkpoint, set_random_seed
from torch import Tensor, nn

from ssod.files import remove_unfinished, write_whole
from ssod.weight_files import fetch_weights

# Where NumPy 2 and NumPy 1 keep it.
_numpy_core = 'numpy._core' if np.lib.NumpyVersion(np.__version__) >= '2.0.0' else 'numpy.core'
_multiarray = importlib.import_module(f'{_numpy_core}.multiarray')

Checkpoint = dict[str, Any]


DOWNLOADED = (
    *('http://', 'https://', 'torchvision://', 'modelzoo://'),
    *('open-mmlab://', 'openmmlab://'),
)
"""Prefixes of checkpoints that are downloaded."""
_ONE_AT_A_TIME = threading.Lock()
"""What torch may read is a setting of the process, which the first of two threads to end resets."""
NOT_READ = ('mmcls://', 'pavi://', r'(\S+\:)?s3://', r'(\S+\:)?petrel://')
"""The other prefixes that mmengine knows, as regular expressions."""


@CheckpointLoader.register_scheme(prefixes='', force=True)
def load_checkpoint(filename: str, map_location: Any = None) -> Checkpoint:
    """Read a local checkpoint without executing anything in it.

    It replaces mmengine's own loader, which executes what it cannot read otherwise. A checkpoint
    may hold tensors, plain values, NumPy arrays and mmengine's logged histories; allow a class of
    your own with ``torch.serialization.add_safe_globals``.

    Args:
        filename: The file.
        map_location: Where its tensors go, as for ``torch.load``.

    Raises:
        FileNotFoundError: If it does not exist.
        ValueError: If it is damaged, not a checkpoint, or holds anything else; for a folder or
            ``last_checkpoint``, names the newest checkpoint there.
    """
    path = Path(filename).expanduser()
    if path.is_dir() or path.name == NOTE:
        newest = latest_checkpoint(path if path.is_dir() else path.parent)
        raise ValueError(f'{path} is not a checkpoint itself; give {newest or "a .pth file"}')
    if not path.is_file():
        raise FileNotFoundError(f'checkpoint {path} does not exist')
    try:
        with _ONE_AT_A_TIME, torch.serialization.safe_globals(_HARMLESS):
            checkpoint: Checkpoint = torch.load(path, map_location, weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f'checkpoint {path} is damaged, or holds more than weights, which is not executed '
            f'({_reason(error)}); use another one'
        ) from None
    except Exception as error:
        # A file that is not a checkpoint can fail in many ways; if a file cannot be read, the
        # system's error names it.
        if isinstance(error, OSError) and error.filename is not None:
            raise
        raise ValueError(
            f'checkpoint {path} is damaged or not a checkpoint ({_reason(error)}); use another one'
        ) from None
    if not isinstance(checkpoint, dict):
        raise ValueError(
            f'checkpoint {path} is not one, but a {type(checkpoint).__name__}; use another one'
        )
    weights = checkpoint.get('state_dict', checkpoint)
    if not isinstance(weights, dict) or not all(isinstance(name, str) for name in weights):
        raise ValueError(f'checkpoint {path} has no weights with names; use another one')
    return checkpoint


@CheckpointLoader.register_scheme(prefixes=DOWNLOADED, force=True)
def load_download(filename: str, map_location: Any = None) -> Checkpoint:
    """Download a checkpoint, unless it was downloaded before, and read it.

    Args:
        filename: As for :func:`~ssod.weight_files.fetch_weights`.
        map_location: Where its tensors go, as for ``torch.load``.

    Raises:
        ConnectionError: If it cannot be downloaded.
        ValueError: As :func:`load_checkpoint`.
    """
    return load_checkpoint(str(fetch_weights(filename)), map_location)


@CheckpointLoader.register_scheme(prefixes=NOT_READ, force=True)
def refuse_checkpoint(filename: str, map_location: Any = None) -> Checkpoint:
    """Refuse what mmengine would read from remote storage, and execute.

    Args:
        filename: The checkpoint.
        map_location: Not used.

    Raises:
        ValueError: Always.
    """
    raise ValueError(
        f'checkpoint {filename} would be executed if read from there; download it, give the file'
    )


def _method_of_history(owner: Any, name: str) -> Any:
    """Replaces ``getattr``, by which mmengine's histories name their methods."""
    if owner is HistoryBuffer and name in ('min', 'max', 'current', 'mean'):
        return getattr(owner, name)
    raise pickle.UnpicklingError(f'it asks for the attribute {name!r}')


_HARMLESS: list[Any] = [
    HistoryBuffer,
    (_method_of_history, 'builtins.getattr'),
    np.ndarray,
    np.dtype,
    *{type(np.dtype(kind)) for kind in '?bBhHiIlLqQefdSU'},
    (_multiarray._reconstruct, 'numpy._core.multiarray._reconstruct'),
    (_multiarray._reconstruct, 'numpy.core.multiarray._reconstruct'),
    (_multiarray.scalar, 'numpy._core.multiarray.scalar'),
    (_multiarray.scalar, 'numpy.core.multiarray.scalar'),
]
"""What a checkpoint may contain besides tensors and plain values."""


def _reason(error: BaseException) -> str:
    """The part of PyTorch's long messages that says what is wrong."""
    text = ' '.join(str(error).split())
    found = re.search(r'GLOBAL \S+|it asks for the attribute \S+|[^.]*', text)
    return found[0] if found and found[0] else type(error).__name__


def load_weights(model: nn.Module, state: Mapping[str, Tensor], path: str | Path) -> None:
    """Load all weights of a model.

    Args:
        model: The model.
        state: The weights.
        path: The file they are from, for the message.

    Raises:
        ValueError: If they are of another detector.
    """
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        reason = shorten(str(error).split('\n')[1], 200, placeholder=' …')
        raise ValueError(
            f'{path} is of another detector: {reason}; use the config that it was trained with'
        ) from None


def save_initialized(detector: Mapping[str, Any], seed: int, path: Path) -> None:
    """Save a detector that is initialized but not trained, as a plain checkpoint.

    Args:
        detector: The detector's config.
        seed: Seed of the random values that its ``init_cfg`` draws.
        path: The file.
    """
    init_default_scope('mmdet')
    set_random_seed(seed)
    model = MODELS.build(deepcopy(dict(detector)))
    # mmengine logs every single parameter.
    logger = MMLogger.get_current_instance()
    level = logger.level
    logger.setLevel('WARNING')
    try:
        model.init_weights()
    finally:
        logger.setLevel(level)
    save_checkpoint({'state_dict': model.state_dict(), 'meta': {}}, str(path))


NOTE = 'last_checkpoint'
"""The file in a work directory in which mmengine records its last checkpoint."""
NONE_YET = 'none yet'
"""What a new run records there if the folder has an earlier run's checkpoints: none of its own."""


def latest_checkpoint(directory: str | Path) -> Path | None:
    """The newest checkpoint of a run.

    Args:
        directory: Its work directory.

    Returns:
        The one that ``last_checkpoint`` names, preferably the one of that name in this directory,
        which may be a copy of another. If it names none that exists (a kill may leave it empty):
        the one with the highest number. ``None`` if there is none, or all are of an earlier run.
    """
    directory = Path(directory)
    note = directory / NOTE
    named = note.read_text().strip() if note.is_file() else ''
    if named == NONE_YET:
        return None
    if named:
        for path in (directory / Path(named).name, Path(named)):
            if path.is_file():
                return path
    numbered = {
        int(match[1]): path
        for path in directory.glob('*.pth')
        if (match := re.fullmatch(r'(?:iter|epoch)_(\d+)\.pth', path.name))
    }
    return numbered[max(numbered)] if numbered else None


@register_backend('WholeFileBackend')
class WholeFileBackend(LocalBackend):
    """Local files that appear whole or not at all; old ones are removed on request."""

    def __init__(self) -> None:
        self._outdated: dict[Path, int] = {}

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Write a file; see :func:`~ssod.files.write_whole`."""
        Path(filepath).parent.mkdir(parents=True, exist_ok=True)
        write_whole(filepath, obj)

    def remove(self, filepath: str | Path) -> None:
        """Mark a file as outdated."""
        path = Path(filepath)
        if path.is_file():
            self._outdated[path] = path.stat().st_ino

    def remove_outdated(self) -> None:
        """Remove the outdated files, unless new ones of the same names have replaced them."""
        for path, inode in self._outdated.items():
            if path.is_file() and path.stat().st_ino == inode:
                path.unlink()
        self._outdated.clear()


_CHANGING = {
    *('params', 'fused', 'foreach', 'capturable'),
    *('last_step', 'base_values', 'end', 'verbose'),
}


def _overridden(runner: Runner, checkpoint: Checkpoint) -> list[str]:
    """Settings of optimizer and learning rate that differ from those in a checkpoint."""
    ours = [('optimizer', group) for group in runner.optim_wrapper.optimizer.param_groups]
    theirs = list(checkpoint['optimizer']['param_groups'])
    if len(ours) != len(theirs):  # PyTorch refuses them.
        return []
    ours += [(type(x).__name__, x.state_dict()) for x in runner.param_schedulers or []]
    theirs += checkpoint.get('param_schedulers', [])
    found = set()
    for (name, mine), other in zip(ours, theirs, strict=False):
        before = _lasting(other)
        for key, value in _lasting(mine).items():
            if value != before.get(key, value):
                found.add(f'{name}.{key} = {value} (in the checkpoint {before[key]})')
    return sorted(found)


def _lasting(state: Mapping[str, Any]) -> dict[str, Any]:
    """What neither a run's course nor its length nor the device changes in a group or schedule."""
    return {
        key: sorted(value) if isinstance(value, Mapping) else state.get(f'initial_{key}', value)
        for key, value in state.items()
        if key not in _CHANGING and not key.startswith(('_', 'initial_'))
    }


@HOOKS.register_module()
class WholeCheckpointHook(CheckpointHook):
    """mmengine's checkpoints, safe from kills and full disks.

    A checkpoint is written to a temporary file, flushed and renamed; only then are outdated ones
    removed (mmengine removes them first).

    Args:
        **kwargs: As for mmengine's ``CheckpointHook``; if you set ``backend_args``, that backend
            handles the files instead.
    """

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault('backend_args', {'backend': 'WholeFileBackend'})
        super().__init__(**kwargs)

    def before_train(self, runner: Runner) -> None:
        """Remove what a killed run left unfinished; record that a new run has no checkpoint yet."""
        super().before_train(runner)
        if not isinstance(self.file_backend, WholeFileBackend):
            return
        remove_unfinished(self.out_dir)
        # mmengine records it there, wherever the checkpoints are.
        note = Path(runner.work_dir) / NOTE
        if runner.iter == 0 and is_main_process() and note.is_file():
            print_log(
                f'{self.out_dir} has an earlier run, of which this one replaces the config, the '
                f'summary, the pictures and checkpoints with the same names; to keep them, stop '
                f'and give another --work-dir (the config is also in TIME/vis_data/config.py)',
                'current',
                logging.WARNING,
            )
            note.write_text(NONE_YET)

    def after_load_checkpoint(self, runner: Runner, checkpoint: Checkpoint) -> None:
        """Refuse to resume from weights alone, such as the best checkpoints.

        mmengine would, with a fresh optimizer and a learning rate that starts over. Also warn of
        changed settings of optimizer and learning rate, which a checkpoint overrides.

        Raises:
            ValueError: If a run is resumed, but the checkpoint has no optimizer state or no meta.
        """
        if not getattr(runner, '_resume', False):
            return
        if 'optimizer' not in checkpoint:
            raise ValueError(
                f'checkpoint {runner._load_from or ""} has no optimizer state, like all best ones, '
                f'so a run cannot be resumed from it; resume from one like '
                f'{self.filename_tmpl.format("1000")}, or start anew with load_from'
            )
        if not isinstance(checkpoint.get('meta'), Mapping):
            raise ValueError(
                f'checkpoint {runner._load_from or ""} does not say its iteration (in meta), so a '
                f'run cannot be resumed from it; start anew with load_from'
            )
        overridden = _overridden(runner, checkpoint)
        if overridden:
            print_log(
                f'{runner._load_from}: optimizer and learning rate continue with the settings in '
                f'the checkpoint, so these changes have no effect: {", ".join(overridden)}; to '
                f'make them, start a new run with load_from',
                'current',
                logging.WARNING,
            )

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float]) -> None:
        """Save the best checkpoint, unless the runner only validates."""
        if hasattr(self, 'file_backend'):
            super().after_val_epoch(runner, metrics)

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict[str, Any]) -> None:
        with self._replacing():
            super()._save_checkpoint_with_step(runner, step, meta)

    def _save_best_checkpoint(self, runner: Runner, metrics: dict[str, float]) -> None:
        with self._replacing():
            super()._save_best_checkpoint(runner, metrics)

    @contextmanager
    def _replacing(self) -> Iterator[None]:
        """Remove outdated files if all went well; if not, say which checkpoint is left."""
        try:
            yield
        except OSError as error:
            if error.filename is None:  # Reported already.
                raise
            last = latest_checkpoint(self.out_dir)
            kept = f'the last good checkpoint is {last}' if last else 'there is no checkpoint yet'
            raise OSError(
                f'cannot write a checkpoint: {error.filename}: {error.strerror}; {kept}; free '
                f'some space and continue with --resume'
            ) from error
        if isinstance(self.file_backend, WholeFileBackend):
            self.file_backend.remove_outdated()
