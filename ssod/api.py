"""What the tools do, as functions: ``import ssod; ssod.predict(...)``."""

from pathlib import Path

from ssod import runs
from ssod.plain_detector import Whose
from ssod.publishing import Published
from ssod.publishing import publish as publish_detector

__all__ = ['publish']


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
