"""Data for benchmarks: the digits, or pictures of any size."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ssod.data.coco_json import write_json
from ssod.data.digits import make_digits
from ssod.own_data import OwnData

CLASSES = 10
OBJECTS = 7
"""Number of objects in a picture, as in COCO."""


def digits(root: Path) -> OwnData:
    """The built-in digits; generated if missing."""
    made = make_digits(root)
    files = [made / f'annotations/{name}.json' for name in ('labeled', 'unlabeled', 'val')]
    return OwnData(files[0], made / 'images/train', files[1], files[2], made / 'images/val')


def pictures(root: Path, width: int, height: int, count: int = 40) -> OwnData:
    """JPEG files of soft noise with coloured rectangles; half of them labelled.

    Args:
        root: Where they go; created if missing.
        width: In pixels.
        height: In pixels.
        count: How many.
    """
    rng = np.random.default_rng(0)
    (root / 'images').mkdir(parents=True, exist_ok=True)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number in range(1, count + 1):
        noise = rng.integers(60, 190, (height // 8, width // 8, 3), dtype=np.uint8)
        picture = cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
        for _ in range(OBJECTS):
            w, h = (int(rng.uniform(0.05, 0.5) * side) for side in (width, height))
            x, y = int(rng.integers(0, width - w)), int(rng.integers(0, height - h))
            label = int(rng.integers(1, CLASSES + 1))
            colour = [25 * label, 255 - 20 * label, 30 * (label % 8)]
            picture[y : y + h, x : x + w] = colour
            annotations.append(
                {
                    'id': len(annotations) + 1,
                    'image_id': number,
                    'category_id': label,
                    'bbox': [x, y, w, h],
                    'area': w * h,
                    'iscrowd': 0,
                }
            )
        cv2.imwrite(str(root / f'images/{number}.jpg'), picture)
        sizes = {'width': width, 'height': height}
        images.append({'id': number, 'file_name': f'{number}.jpg', **sizes})
    categories = [{'id': i, 'name': str(i)} for i in range(1, CLASSES + 1)]
    files = {'labeled': images[: count // 2], 'unlabeled': images[count // 2 :]}
    for name, some in files.items():
        ids = {image['id'] for image in some if name == 'labeled'}
        shown = [a for a in annotations if a['image_id'] in ids]
        content = {'images': some, 'annotations': shown, 'categories': categories}
        write_json(root / f'{name}.json', content)
    labeled = root / 'labeled.json'
    return OwnData(labeled, root / 'images', root / 'unlabeled.json', labeled)
