"""What the tools do, as functions: ``import ssod; ssod.predict(...)``."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from mmdet.models import BaseDetector
from mmengine.config import Config

from ssod import export, runs
from ssod.checkpoint_content import Whose
from ssod.checks.before_run import check_data_of
from ssod.evaluation.summary import SummaryHook
from ssod.files import check_new
from ssod.own_data import OwnData, use_folder
from ssod.plain_detector import load_detector
from ssod.prediction import Predictions
from ssod.prediction import predict as predict_on_inputs
from ssod.pseudo_labels.label_images import label_images
from ssod.pseudo_labels.sweep import THRESHOLDS, ClassSweep, sweep_validation
from ssod.publishing import Published
from ssod.publishing import publish as publish_detector
from ssod.recipes.stac import NAME

__all__ = [
    'OwnData',
    'export_onnx',
    'predict',
    'pseudo_label',
    'publish',
    'sweep_thresholds',
    'train',
]


def train(
    config: str | Path,
    data: OwnData | None = None,
    work_dir: str | None = None,
    options: Mapping[str, Any] | None = None,
    detector: str | None = None,
    resume: bool | str | Path = False,
    fit: bool = True,
    log_to: Sequence[str] = (),
    amp: bool = False,
    auto_scale_lr: bool = False,
) -> dict[str, Any]:
    """Train a detector from labelled and unlabelled images, in this process.

    Args:
        config: The config file.
        data: Data that replace the config's.
        work_dir: Where results go; ``work_dirs/<config's name>`` if ``None``.
        options: Values that replace the config's, with dotted keys.
        detector: Another config, whose detector replaces this one's, such as
            ``mmdet::rtmdet/rtmdet_tiny_8xb32-300e_coco.py``.
        resume: Whether to continue from the last checkpoint in the work directory, if there is one;
            or the checkpoint to continue from.
        fit: Whether image size, anchors, batch, learning rate, iterations and start weights are
            fitted to ``data`` and the machine, see :func:`ssod.fitting.fit_config`; ``options``
            stay.
        log_to: Where scalars are logged as well: any of ``'tensorboard'``, ``'wandb'``,
            ``'mlflow'``.
        amp: Whether to compute in mixed precision (bfloat16).
        auto_scale_lr: Whether the learning rate grows with the batch, see
            :func:`ssod.runs.scale_lr`.

    Returns:
        What :class:`~ssod.evaluation.summary.SummaryHook` writes into ``summary.json``.

    Raises:
        OSError: If data, weights or the config do not exist.
        ValueError: If a setting is wrong, data would crash the run or teach it something wrong, the
            config has no ``SummaryHook``, or a package in ``log_to`` is not installed.
    """
    cfg = runs.load_config(
        config, work_dir, options, detector=detector, data=data, fit=fit, amp=amp
    )
    runs.log_to(cfg, log_to)
    if auto_scale_lr:
        runs.scale_lr(cfg)
    if resume:
        runs.set_resume(cfg, 'auto' if resume is True else str(resume))
    runner = runs.build_runner(cfg)
    if not any(isinstance(hook, SummaryHook) for hook in runner.hooks):
        raise ValueError(
            f'{cfg.filename}: has no SummaryHook, which sums up a training; set '
            f"default_hooks.summary=dict(type='SummaryHook')"
        )
    runner.train()
    summary: dict[str, Any] = json.loads(Path(cfg.work_dir, 'summary.json').read_text())
    return summary


def pseudo_label(
    config: str | Path,
    checkpoint: str | Path,
    folder: str | Path | None = None,
    out: str | Path | None = None,
    model: Whose = 'teacher',
    score_thr: float = 0.2,
    overwrite: bool = False,
    options: Mapping[str, Any] | None = None,
) -> Path:
    """Label images with a trained model: COCO JSON with scores, to correct or to train on.

    Shows a progress bar on stderr. After an interruption, the same call continues where it stopped.

    Args:
        config: The config file of a run.
        checkpoint: A checkpoint of a run with the same detector.
        folder: Images, sub-folders included; the config's own unlabelled images if ``None``.
        out: The output file; ``pseudo_labels.json`` in the config's work directory if ``None``.
        model: Which model predicts, ``'teacher'`` or ``'student'``.
        score_thr: Boxes with lower scores are left out, in [0, 1].
        overwrite: Whether the file may be replaced if it exists.
        options: Values that replace the config's, with dotted keys.

    Returns:
        The file.

    Raises:
        FileExistsError: If the file exists and may not be replaced.
        FileNotFoundError: If the config, the checkpoint or the folder does not exist.
        ValueError: If config and checkpoint do not go together, a setting is out of range, or no
            image can be read; single unreadable images are skipped.
    """
    cfg = runs.load_config(config, options=options)
    file = Path(out or Path(cfg.work_dir, NAME))
    check_new(file, overwrite, 'remove it, or pass --overwrite')
    if folder is not None:
        use_folder(cfg, Path(folder))
    labeler, classes = _labeler(cfg, checkpoint, model, score_thr)
    label_images(cfg, labeler, classes, file, f'{model} of {checkpoint}', score_thr)
    return file


def sweep_thresholds(
    config: str | Path,
    checkpoint: str | Path,
    model: Whose = 'teacher',
    options: Mapping[str, Any] | None = None,
) -> list[ClassSweep]:
    """Try score thresholds on the validation images of a config; see :class:`ClassSweep`.

    Args:
        config: The config file of a run.
        checkpoint: A checkpoint of a run with the same detector.
        model: Which model predicts, ``'teacher'`` or ``'student'``.
        options: Values that replace the config's, with dotted keys.

    Returns:
        For each class, how many boxes are right at each threshold, and the best threshold.

    Raises:
        FileNotFoundError: If the config or the checkpoint does not exist.
        ValueError: If they do not go together.
    """
    cfg = runs.load_config(config, options=options)
    check_data_of(cfg, ['val'])
    labeler, _ = _labeler(cfg, checkpoint, model, min(THRESHOLDS))
    return sweep_validation(cfg, labeler)


def _labeler(
    cfg: Config, checkpoint: str | Path, whose: Whose, score_thr: float
) -> tuple[BaseDetector, tuple[str, ...]]:
    """The detector that labels, on the GPU if there is one, and its classes."""
    detector, labels = load_detector(cfg, checkpoint, whose, score_thr)
    return detector.to('cuda' if torch.cuda.is_available() else 'cpu'), labels['classes']


def predict(
    config: str | Path,
    checkpoint: str | Path,
    inputs: str | Path | Iterable[str | Path],
    out: str | Path | None = None,
    model: Whose = 'teacher',
    score_thr: float = 0.3,
    batch_size: int = 1,
    overwrite: bool = False,
) -> Predictions:
    """Detect objects in images and videos, and write pictures and a COCO JSON.

    Works on the GPU if there is one, and shows a progress bar on stderr. Images and videos that
    cannot be read are skipped and reported there.

    Args:
        config: The config file of a run, one that :func:`publish` wrote, or any mmdet config.
        checkpoint: A checkpoint for it.
        inputs: Images, videos, and folders of images, sub-folders included.
        out: The folder for ``predictions.json`` and for ``pictures``, which keeps the inputs'
            folders and names; ``predictions`` next to the checkpoint if ``None``.
        model: Which model predicts, ``'teacher'`` or ``'student'``; a plain detector has no
            student.
        score_thr: Boxes with lower scores are left out, in [0, 1].
        batch_size: Images per batch, at least 1; those of different sizes are padded to the
            largest, which can change results slightly.
        overwrite: Whether an existing ``predictions.json`` and pictures may be replaced; the
            pictures that it names are removed.

    Returns:
        What was found, as in ``predictions.json``, and what was skipped.

    Raises:
        FileExistsError: If there is a ``predictions.json`` and it may not be replaced, or there are
            pictures but no ``predictions.json``.
        FileNotFoundError: If the config, the checkpoint or an input does not exist, or a folder
            has no image.
        ValueError: If a setting is out of range, config and checkpoint do not go together, nothing
            could be read, or a picture would replace an input.
    """
    cfg = runs.load_config(config)
    return predict_on_inputs(cfg, checkpoint, inputs, out, model, score_thr, batch_size, overwrite)


def publish(
    config: str | Path,
    checkpoint: str | Path,
    out: str | Path | None = None,
    model: Whose = 'teacher',
    overwrite: bool = False,
) -> Published:
    """Write a trained teacher as a plain mmdet detector, which predicts the same.

    mmdet's ``DetInferencer`` and ``init_detector`` load the two files without this package; see
    :class:`~ssod.publishing.Published` for the exceptions.

    Args:
        config: The config file of the run.
        checkpoint: A checkpoint for it.
        out: The folder for ``<config's name>.py`` and ``.pth``; ``published`` next to the
            checkpoint if ``None``.
        model: Whose detector, ``'teacher'`` or ``'student'``.
        overwrite: Whether files with other content may be replaced.

    Raises:
        FileExistsError: If such a file exists and may not be replaced.
        FileNotFoundError: If the config or the checkpoint does not exist.
        ValueError: If they are of a plain detector already, do not go together, or would be
            overwritten themselves.
    """
    return publish_detector(runs.load_config(config), checkpoint, out, model, overwrite)


def export_onnx(
    config: str | Path,
    checkpoint: str | Path,
    out: str | Path | None = None,
    size: tuple[int, int] | None = None,
    model: Whose = 'teacher',
    images: str | Path | Iterable[str | Path] = (),
    overwrite: bool = False,
) -> export.Exported:
    """Write a trained teacher as one ONNX file that goes from the pixels of an image to its boxes.

    Its input ``image`` is (1, 3, H, W), float32, RGB from 0 to 255, resized; its outputs are
    ``boxes`` (N, 4) as (x1, y1, x2, y2) in pixels of the input, ``scores`` (N,) and ``labels``
    (N,), best first. It is written only if onnxruntime finds the same boxes as mmdet does; if both
    find none, as in noise, boxes with lower scores are compared.

    Args:
        config: The config file of a run, or of a plain detector.
        checkpoint: A checkpoint for it.
        out: The file; named after the config, next to the checkpoint, if ``None``.
        size: Fixed height and width of the input; if ``None``, both are free.
        model: Whose detector, ``'teacher'`` or ``'student'``.
        images: Images to compare on; noise if there are none.
        overwrite: Whether the file may be replaced if it exists.

    Raises:
        FileExistsError: If the file exists and may not be replaced.
        FileNotFoundError: If the config, the checkpoint or an image does not exist.
        ValueError: If the detector cannot be exported, an image cannot be read, the exported file
            finds other boxes, there are no boxes to compare, or a package that this needs is not
            installed.
    """
    cfg = runs.load_config(config)
    return export.export_onnx(cfg, checkpoint, out, size, model, images, overwrite)
