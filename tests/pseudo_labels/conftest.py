"""A hidden truth of two images."""

import json

import pytest


@pytest.fixture
def truth_file(tmp_path):
    # Class ids that are not the class numbers. Image 1: a cat and a dog; image 2: a dog.
    boxes = [(1, 7, [0, 0, 10, 10]), (1, 9, [80, 80, 10, 10]), (2, 9, [20, 20, 10, 10])]
    content = {
        'images': [{'id': i, 'file_name': f'{i}.png', 'height': 100, 'width': 100} for i in (1, 2)],
        'categories': [{'id': 7, 'name': 'cat'}, {'id': 9, 'name': 'dog'}],
        'annotations': [
            {'id': i, 'image_id': img, 'category_id': c, 'bbox': b, 'area': 100, 'iscrowd': 0}
            for i, (img, c, b) in enumerate(boxes, 1)
        ],
    }
    path = tmp_path / 'truth.json'
    path.write_text(json.dumps(content))
    return str(path)
