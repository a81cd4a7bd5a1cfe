"""Names of classes."""

import pytest

from ssod.checks.classes import check_classes


def content(names):
    boxes = [
        {'id': i, 'image_id': 1, 'category_id': i, 'bbox': [0, 0, 9, 9], 'area': 81, 'iscrowd': 0}
        for i in range(len(names))
    ]
    return {
        'images': [{'id': 1, 'file_name': 'a.jpg', 'height': 9, 'width': 9}],
        'annotations': boxes,
        'categories': [{'id': i, 'name': name} for i, name in enumerate(names)],
    }


@pytest.mark.parametrize(
    ('names', 'told'),
    [
        (['cat', 'dog'], []),
        (['cat', 'cat2', 'cats'], []),
        (
            ['cat', 'dog', 'Cat'],
            ["a.json: has the classes 'cat' and 'Cat'; if they mean the same,"],
        ),
        (['polar bear', 'polar_bear'], ["has the classes 'polar bear' and 'polar_bear'; if they"]),
        # One line for all.
        (
            ['a', 'A', 'b', 'B '],
            ["has the classes 'a' and 'A' (and 1 more); if they mean the same"],
        ),
    ],
)
def test_classes_that_are_alike(names, told):
    findings = check_classes(content(names), names, 'a.json', 'labeled')
    assert [finding.severity for finding in findings] == ['warning'] * len(told)
    for finding, text in zip(findings, told, strict=True):
        assert text in str(finding)
    # One file is enough to say it of.
    assert not check_classes(content(names), names, 'a.json', 'val')
