"""What the tools do, as functions: ``import ssod; ssod.predict(...)``."""

from collections.abc import Sequence
from pathlib import Path

from ssod import runs
from ssod.plain_detector import Whose
from ssod.prediction import Predictions
from ssod.prediction import predict as predict_on_inputs
from ssod.publishing import Published
from ssod.publishing import publish as publish_detector

__all__ = ['predict', 'publish']


def predict(
    config: str | Path,
    checkpoint: str | Path,
    inputs: str | Path | Sequence[str | Path],
    out: str | Path | None = None,
    model: Whose = 'teacher',
    score_thr: float = 0.3,
    batch_size: int = 1,
    overwrite: bool = False,
) -> Predictions:
    """Detect objects in images and videos, and write pictures and a COCO JSON.

    Works on the GPU if there is one, and shows a progress bar on stderr. An image or video that
    cannot be read is told there and passed over.

    Args:
        config: The config file of a run, of what :func:`publish` wrote, or any of mmdet.
        checkpoint: A checkpoint of it.
        inputs: Images, videos, and folders whose images are meant, in sub-folders too.
        out: The folder for ``predictions.json`` and for ``pictures``, which keeps the inputs'
            folders and names; ``predictions`` beside the checkpoint if ``None``.
        model: Who predicts, ``'teacher'`` or ``'student'``; a plain detector has no student.
        score_thr: Boxes of lower scores are left out, in [0, 1].
        batch_size: Images at once, at least 1; those of different sizes are padded to the largest,
            which can change what is found a little.
        overwrite: Whether a ``predictions.json`` that is there may be replaced.

    Returns:
        What was found, as it is in ``predictions.json``, and what was passed over.

    Raises:
        FileExistsError: If there is a ``predictions.json`` and it may not be replaced.
        FileNotFoundError: If the config, the checkpoint or an input does not exist, or a folder
            has no image.
        ValueError: If a setting is out of its range, config and checkpoint do not go together, or
            nothing at all could be read.
    """
    given = [inputs] if isinstance(inputs, str | Path) else inputs
    cfg = runs.load_config(config)
    return predict_on_inputs(cfg, checkpoint, given, out, model, score_thr, batch_size, overwrite)


def publish(
    config: str | Path,
    checkpoint: str | Path,
    out: str | Path | None = None,
    model: Whose = 'teacher',
    overwrite: bool = False,
) -> Published:
    """Write a trained teacher as a plain mmdet detector, which predicts the same.

    mmdet's ``DetInferencer`` and ``init_detector`` take the two files where this package is not
    installed; see :class:`~ssod.publishing.Published` for the exceptions.

    Args:
        config: The config file of the run.
        checkpoint: A checkpoint of it.
        out: The folder for ``<config's name>.py`` and ``.pth``; ``published`` beside the
            checkpoint if ``None``.
        model: Whose detector, ``'teacher'`` or ``'student'``.
        overwrite: Whether files with other content may be replaced.

    Raises:
        FileExistsError: If such a file is there and may not.
        FileNotFoundError: If the config or the checkpoint does not exist.
        ValueError: If they are of a plain detector already, or do not go together.
    """
    return publish_detector(runs.load_config(config), checkpoint, out, model, overwrite)
