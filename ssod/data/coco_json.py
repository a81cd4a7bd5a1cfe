"""COCO JSON files: read with clear errors, written completely or not at all."""

import contextlib
import gc
import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Set
from pathlib import Path
from typing import Any

from ssod.files import other_content, write_whole

PARTS = ('images', 'annotations', 'categories')
"""The lists of a COCO JSON."""
Coco = dict[str, Any]
"""Content of a COCO JSON."""


def read_coco(path: str | Path, parts: tuple[str, ...] = PARTS) -> Coco:
    """Read a COCO JSON file.

    Args:
        path: The file.
        parts: Which of its lists must be there.

    Returns:
        Its whole content.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not JSON, or one of the lists is missing.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'{path} does not exist; see data/README.md for what goes where')
    text = ''
    try:
        # Only UTF-8, because mmdet reads it as UTF-8.
        text = path.read_text(encoding='utf-8')
        with no_garbage_collection():
            content = json.loads(text)
    except (ValueError, RecursionError) as error:
        if text.startswith('\ufeff'):
            raise ValueError(
                f'{path} begins with a byte order mark; save it as UTF-8 without one'
            ) from None
        raise ValueError(f'{path} is not JSON: {error}; get or write it again') from None
    for part in parts:
        if not isinstance(content, dict) or not isinstance(content.get(part), list):
            raise ValueError(f'{path} is not a COCO JSON: it has no list {part!r}')
    return content


def part_coco(coco: Coco, labeled: Set[int | str]) -> tuple[Coco, Coco, Coco]:
    """Part a data set into a labelled and an unlabelled one.

    Args:
        coco: Content of a COCO JSON; not modified.
        labeled: Ids of the labelled images.

    Returns:
        The labelled part; the unlabelled part: the other images without annotations; and the hidden
        truth: the unlabelled part with its boxes but without masks, which only diagnosis may read.
    """
    shown = [i for i in coco['images'] if i['id'] in labeled]
    hidden = [i for i in coco['images'] if i['id'] not in labeled]
    annotations = [a for a in coco['annotations'] if a['image_id'] in labeled]
    truth = [
        {key: value for key, value in annotation.items() if key != 'segmentation'}
        for annotation in coco['annotations']
        if annotation['image_id'] not in labeled
    ]
    # Only what is known to be free of labels goes into the unlabelled part.
    unlabeled: Coco = {key: coco[key] for key in ('info', 'licenses', 'categories') if key in coco}
    return (
        {**coco, 'images': shown, 'annotations': annotations},
        {**unlabeled, 'images': hidden, 'annotations': []},
        {**unlabeled, 'images': hidden, 'annotations': truth},
    )


def is_ignored(annotation: Mapping[str, Any]) -> bool:
    """Whether an annotation is not learnt from: a crowd, or one that mmdet ignores as well."""
    return bool(annotation.get('iscrowd') or annotation.get('ignore'))


def is_text(name: str) -> bool:
    """Whether a file's name is UTF-8; in JSON, any other name could not be read back."""
    return not any('\ud800' <= letter <= '\udfff' for letter in name)


def in_order(ids: Iterable[Any]) -> list[Any]:
    """Sorted ids, numbers before strings; one file may have both."""
    return sorted(ids, key=lambda known: (isinstance(known, str), known))


@contextlib.contextmanager
def no_garbage_collection() -> Iterator[None]:
    """Handle millions of objects in half the time, where none of them becomes garbage."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def write_json(path: str | Path, content: Any, overwrite: bool = True) -> None:
    """Write a JSON file, completely or not at all.

    It is written next to ``path`` and moved there; the same content gives the same bytes.

    Args:
        path: The file; its directory must exist.
        content: Anything :func:`json.dumps` takes.
        overwrite: Whether to replace an existing file with different content.

    Raises:
        FileExistsError: If there is such a file and it must not be replaced.
    """
    path = Path(path)
    text = _text(content)
    if path.exists() and not overwrite:
        if path.read_bytes() != text:
            raise other_content(path)
        return
    write_whole(path, text)


def write_beside(contents: Mapping[Path, Any]) -> list[Path]:
    """Write JSON files without replacing any that has different content.

    If there is one, all new names get a number: ``a_2.json``, or else ``a_3.json``.

    Args:
        contents: The content of each file; the directories must exist.

    Returns:
        The files, whether just written or already there.
    """
    texts = {path: _text(content) for path, content in contents.items()}
    for number in itertools.count(1):
        ending = f'_{number}' if number > 1 else ''
        files = {path.with_stem(f'{path.stem}{ending}'): text for path, text in texts.items()}
        if all(not file.exists() or file.read_bytes() == text for file, text in files.items()):
            break
    for file, text in files.items():
        if not file.exists():
            write_whole(file, text)
    return list(files)


def _text(content: Any) -> bytes:
    return (json.dumps(content, separators=(',', ':')) + '\n').encode()
