"""COCO JSON files: read with clear errors, written whole or not at all."""

import json
import os
import tempfile
from pathlib import Path
from typing import Any


def write_json(path: str | Path, content: Any) -> None:
    """Write a JSON file, whole or not at all.

    It is written beside ``path`` and moved there; the same content gives the same bytes.

    Args:
        path: The file; its directory must exist.
        content: What :func:`json.dumps` takes.
    """
    path = Path(path)
    with tempfile.TemporaryDirectory(prefix=f'.{path.name}-', dir=path.parent) as place:
        written = Path(place) / path.name
        written.write_text(json.dumps(content, separators=(',', ':')) + '\n', encoding='utf-8')
        os.replace(written, path)
