"""Writes a detector as an ONNX file, after checking that it finds the same boxes."""

import contextlib
import importlib
import json
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from numpy.typing import NDArray

import ssod
from ssod.checkpoint_content import Whose
from ssod.data.inputs import as_list
from ssod.data.load_image import LoadImage, Pixels
from ssod.export.graph import SCORE_THR, TraceableDetector, last_test_cfg
from ssod.export.limits import why_not
from ssod.export.preparation import Preparation, preparation_of
from ssod.export.verification import Comparison, by_mmdet, by_onnx, compare
from ssod.files import check_new, write_whole
from ssod.plain_detector import detector_cfg, load_detector

NEEDED = ('onnx', 'onnxscript', 'onnxruntime')
"""Packages of the extra ``export``."""

TRACES_MOST = '2.12'
"""The oldest PyTorch that traces a Faster R-CNN; the extra ``export`` wants it."""

RANDOM_IMAGES = 3
"""How many images of noise the two are compared on if none are given."""

LEAST_SCORES = (1, 0.1, 0.01, 0)
"""Factors on the detector's own score threshold, tried in turn until there are boxes to compare."""


@dataclass(frozen=True)
class Exported:
    """What was written.

    Args:
        file: The ONNX file.
        comparison: How much it differs from the detector.
        preparation: How an image becomes its input.
    """

    file: Path
    comparison: Comparison
    preparation: Preparation


def export_onnx(
    cfg: Config,
    checkpoint: str | Path,
    out: str | Path | None = None,
    size: tuple[int, int] | None = None,
    whose: Whose = 'teacher',
    images: str | Path | Iterable[str | Path] = (),
    overwrite: bool = False,
) -> Exported:
    """Write a trained detector as one ONNX file, from the pixels of an image to its boxes.

    Its input ``image`` is (1, 3, H, W), float32, RGB from 0 to 255, already resized; normalization,
    padding and non-maximum suppression are part of the graph. Its outputs are ``boxes`` (N, 4) as
    (x1, y1, x2, y2) in pixels of the input, ``scores`` (N,) and ``labels`` (N,), best first; N is 0
    if nothing is found. The file's metadata give as JSON the meaning of the labels (``classes``),
    how to resize images (``resize``), and what to do with boxes that reach into the padding
    (``boxes``).

    The file is written only if onnxruntime finds the same boxes as mmdet. If both find none, as in
    noise, they are compared with a lower score threshold than the file's.

    Args:
        cfg: A run's config, or a plain detector's.
        checkpoint: A checkpoint of it.
        out: The file. If ``None``, it is named after the config and put next to the checkpoint.
        size: Fixed height and width of the input; if ``None``, both may vary.
        whose: Which model to export; a plain detector counts as the teacher.
        images: Images to compare on; noise if there are none.
        overwrite: Whether to replace an existing file.

    Raises:
        FileExistsError: If the file exists and must not be replaced.
        FileNotFoundError: If the checkpoint or an image does not exist.
        ValueError: If the detector cannot be exported, or only with a fixed size; an image cannot
            be read; the exported model finds other boxes; there are none to compare; or a required
            package is not installed.
    """
    file = Path(checkpoint).parent / f'{Path(cfg.filename).stem}.onnx' if out is None else Path(out)
    check_new(file, overwrite, 'remove it, or pass --overwrite or another --out')
    onnx, _, onnxruntime = (_package(name) for name in NEEDED)
    detector, labels = load_detector(cfg, checkpoint, whose)
    reason = why_not(detector)
    if reason is not None:
        raise ValueError(f'{cfg.filename}: {type(detector).__name__} cannot be exported: {reason}')
    preparation = preparation_of(cfg, detector_cfg(cfg).data_preprocessor, size)
    # Before the slow tracing.
    pictures = [preparation(image) for image in _images(as_list(images), preparation)]
    model = onnx.load_from_string(_traced(detector, preparation, cfg.filename))
    if size is None:
        _check_size_is_free(model, type(detector).__name__, cfg.filename)
    _describe(onnx, model, {'classes': json.dumps(labels['classes']), **preparation.metadata()})
    content = model.SerializeToString()
    comparison = _comparison(onnx, onnxruntime, model, detector, pictures)
    fault = _fault(comparison)
    if fault:
        raise ValueError(f'{cfg.filename}: {fault}; {file} is not written')
    file.parent.mkdir(parents=True, exist_ok=True)
    write_whole(file, content)
    return Exported(file, comparison, preparation)


def _fault(comparison: Comparison) -> str | None:
    """Why the exported model must not be written; ``None`` if it may be."""
    if not comparison.equal:
        return f'the exported model does not match the detector: {comparison}'
    if not comparison.boxes:
        return (
            'no box is found in any image, even with the lowest score, so nothing can be compared: '
            'give --images with objects, or another checkpoint'
        )
    return None


def _package(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        raise ValueError(
            f"{name} is not installed, but exporting needs it; pip install 'ssod[export]'"
        ) from None


def _traced(detector: Any, preparation: Preparation, name: str) -> bytes:
    """The graph of a detector, without metadata."""
    height, width = preparation.size or preparation.scale[::-1]
    free = {2: torch.export.Dim('height'), 3: torch.export.Dim('width')}
    example = torch.zeros(1, 3, height, width)
    with _quiet():
        try:
            program: Any = torch.onnx.export(
                TraceableDetector(detector, preparation).eval(),
                (example,),
                input_names=['image'],
                output_names=['boxes', 'scores', 'labels'],
                dynamic_shapes=(free,) if preparation.size is None else None,
                dynamo=True,
                verbose=False,
            )
        except torch.onnx.errors.OnnxExporterError as error:
            cause = str(error.__cause__ or error).strip().split('\n')[0]
            told = f'{name}: PyTorch cannot trace this {type(detector).__name__}: {cause}'
            if torch.__version__ < TRACES_MOST:
                told += f'; update PyTorch {torch.__version__} to {TRACES_MOST} or newer'
            raise ValueError(told) from error
    content: bytes = program.model_proto.SerializeToString()
    return content


def _check_size_is_free(model: Any, kind: str, name: str) -> None:
    """Refuse a graph that is for the traced size only; PyTorch does not say so."""
    height, width = model.graph.input[0].type.tensor_type.shape.dim[2:]
    if not (height.dim_param and width.dim_param):
        raise ValueError(
            f'{name}: PyTorch can trace this {kind} only for images of one size, as it does with '
            f'deformable convolutions; fix the size with --size'
        )


def _describe(onnx: Any, model: Any, told: dict[str, str]) -> None:
    """Put metadata into a model, and name the dimension that counts boxes."""
    onnx.helper.set_model_props(model, {'ssod': json.dumps(ssod.__version__), **told})
    for output in model.graph.output:
        # PyTorch names it after an internal symbol.
        output.type.tensor_type.shape.dim[0].dim_param = 'found'


def _comparison(
    onnx: Any, onnxruntime: Any, model: Any, detector: Any, pictures: Sequence[NDArray[np.float32]]
) -> Comparison:
    """Compare a detector and its graph, lowering both thresholds until there are boxes."""
    settings = last_test_cfg(detector)
    (threshold,) = (part for part in model.graph.initializer if part.name == SCORE_THR)
    own = settings.score_thr
    for share in LEAST_SCORES:
        settings.score_thr = own * share
        value = np.array(settings.score_thr, np.float32)
        threshold.CopyFrom(onnx.numpy_helper.from_array(value, SCORE_THR))
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), providers=['CPUExecutionProvider']
        )
        comparison = compare(by_mmdet(detector), by_onnx(session), pictures)
        if comparison.boxes or not comparison.equal:
            break
    return comparison


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Hide PyTorch's warnings about its own code."""
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        yield


def _images(paths: Sequence[str | Path], preparation: Preparation) -> Iterator[Pixels]:
    load = LoadImage()
    for path in paths:
        if not Path(path).exists():
            raise FileNotFoundError(f'{path} does not exist; give images to compare on')
        yield load.transform({'img_path': str(path)})['img']
    if not paths:
        height, width = preparation.size or preparation.scale[::-1]
        random = np.random.default_rng(0)
        for number in range(RANDOM_IMAGES):
            # In other shapes than the traced one.
            shape = (height, max(1, width - 7 * number), 3)
            yield random.integers(0, 256, shape, np.uint8)
