"""``tools/convert_dataset.py``."""

import json

import pytest
from PIL import Image


@pytest.fixture
def labels(tmp_path):
    root = tmp_path / 'labels'
    root.mkdir()
    Image.new('RGB', (40, 20)).save(root / 'a.jpg')
    box = '<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>50</xmax><ymax>9</ymax></bndbox>'
    (root / 'a.xml').write_text(f'<annotation><object><name>cow</name>{box}</object></annotation>')
    return root


def test_labels_are_converted(labels, call, capsys, tmp_path):
    call('convert_dataset', labels, '--out', tmp_path / 'new/folder')
    assert capsys.readouterr().out.splitlines() == [
        f'{tmp_path}/new/folder/train.json: 1 images, 1 boxes, 1 classes; images in {labels}',
        'note: boxes that reach outside their images, clipped: 1',
    ]
    content = json.loads((tmp_path / 'new/folder/train.json').read_text())
    assert content['annotations'][0]['bbox'] == [0, 0, 40, 9]


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('<annotation/>', 'train.json exists with other content; remove it, or pass --overwrite'),
        ('<annotation>', 'labels/a.xml is not XML: no element found: line 1, column 12'),
    ],
)
def test_a_mistake_is_told_in_one_line(labels, call, capsys, tmp_path, text, message):
    call('convert_dataset', labels, '--out', tmp_path)
    (labels / 'a.xml').write_text(text)
    with pytest.raises(SystemExit) as left:
        call('convert_dataset', labels, '--out', tmp_path)
    assert left.value.code == 1
    (told,) = capsys.readouterr().err.splitlines()
    assert told.startswith('error: ')
    assert message in told


def test_what_is_there_is_replaced_if_asked(labels, call, tmp_path):
    for text in (None, '<annotation/>'):
        if text:
            (labels / 'a.xml').write_text(text)
        call('convert_dataset', labels, '--out', tmp_path, '--overwrite')
    assert json.loads((tmp_path / 'train.json').read_text())['annotations'] == []
