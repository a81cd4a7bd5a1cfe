"""A detector written as an ONNX file, after it was seen to find the same."""

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
from ssod.data.inputs import as_list
from ssod.data.load_image import LoadImage
from ssod.export.graph import SCORE_THR, TraceableDetector, last_test_cfg
from ssod.export.limits import why_not
from ssod.export.preparation import Preparation, preparation_of
from ssod.export.verification import Comparison, by_mmdet, by_onnx, compare
from ssod.files import check_new, write_whole
from ssod.inference import Pixels
from ssod.plain_detector import Whose, detector_cfg, load_detector

NEEDED = ('onnx', 'onnxscript', 'onnxruntime')
"""Packages that the extra ``export`` brings."""

RANDOM_IMAGES = 3
"""On how many images of noise the two are compared where no others are given."""

LEAST_SCORES = (1, 0.1, 0.01, 0)
"""From which share of the detector's own least score on boxes are compared: the first with which
there are any."""


@dataclass(frozen=True)
class Exported:
    """What was written.

    Args:
        file: The ONNX file.
        comparison: How much it differs from the detector.
        preparation: From an image to its input.
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

    Its input ``image`` is (1, 3, H, W), float32, RGB from 0 to 255, resized; normalization, padding
    and the suppression of overlapping boxes are inside. Its outputs are ``boxes`` (N, 4) as
    (x1, y1, x2, y2) in pixels of the input, ``scores`` (N,) and ``labels`` (N,), best first; N is 0
    if nothing is found. The file's metadata say as JSON what the labels stand for (``classes``),
    how images are resized (``resize``), and what is to be done with boxes that reach into the
    padding (``boxes``).

    It is written only if onnxruntime finds the same boxes as mmdet does. Where both find none, as
    in noise, boxes of lower scores are compared than those that the file finds.

    Args:
        cfg: A run's config, or a plain detector's.
        checkpoint: A checkpoint of it.
        out: The file; named after the config, beside the checkpoint, if ``None``.
        size: Height and width of the input, fixed; if ``None``, both are free.
        whose: Whose detector; a plain detector counts as the teacher.
        images: Images to compare on; if there is none, noise.
        overwrite: Whether the file may be replaced if it is there.

    Raises:
        FileExistsError: If the file is there and may not be replaced.
        FileNotFoundError: If the checkpoint or an image does not exist.
        ValueError: If the detector cannot be exported, an image cannot be read, what was exported
            finds other boxes, there are none to compare, or a package that this needs is not
            installed.
    """
    file = Path(checkpoint).parent / f'{Path(cfg.filename).stem}.onnx' if out is None else Path(out)
    check_new(file, overwrite, 'remove it, or pass --overwrite or another --out')
    onnx, _, onnxruntime = (_package(name) for name in NEEDED)
    detector, labels = load_detector(cfg, checkpoint, whose)
    reason = why_not(detector)
    if reason is not None:
        raise ValueError(f'{cfg.filename}: {type(detector).__name__} cannot be exported: {reason}')
    preparation = preparation_of(cfg, detector_cfg(cfg).data_preprocessor, size)
    # Before the tracing, which takes long.
    pictures = [preparation(image) for image in _images(as_list(images), preparation)]
    model = onnx.load_from_string(_traced(detector, preparation, cfg.filename))
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
    """Why what was exported is not to be written; ``None`` if it may be."""
    if not comparison.equal:
        return f'what was exported is not the detector: {comparison}'
    if not comparison.boxes:
        return (
            'nothing is found in any image, however low its score, so nothing can be compared: '
            'give --images with objects, or another checkpoint'
        )
    return None


def _package(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        raise ValueError(
            f'{name} is not installed, without which nothing can be exported; pip install '
            f"'ssod[export]'"
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
            raise ValueError(
                f'{name}: PyTorch cannot trace this {type(detector).__name__}: {cause}'
            ) from error
    content: bytes = program.model_proto.SerializeToString()
    return content


def _describe(onnx: Any, model: Any, told: dict[str, str]) -> None:
    """Put metadata into a model, and a name to the number of boxes."""
    onnx.helper.set_model_props(model, {'ssod': json.dumps(ssod.__version__), **told})
    for output in model.graph.output:
        # PyTorch calls it by the symbol that it reckoned with.
        output.type.tensor_type.shape.dim[0].dim_param = 'found'


def _comparison(
    onnx: Any, onnxruntime: Any, model: Any, detector: Any, pictures: Sequence[NDArray[np.float32]]
) -> Comparison:
    """Compare a detector and its graph; both get lower thresholds until there are boxes."""
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
    """Keep what PyTorch says of its own code from the user."""
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
            # Of other shapes than what was traced.
            shape = (height, max(1, width - 7 * number), 3)
            yield random.integers(0, 256, shape, np.uint8)
